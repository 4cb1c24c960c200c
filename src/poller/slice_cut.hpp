// Vectored requests that move no more at once than a single one may: the same for both pollers.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <span>
#include <utility>

#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// The slice at which a request is cut. Between make() and undo() that slice is shorter than its
/// owner has made it; the owner leaves slices alone until the operation has completed.
class slice_cut {
public:
    /// Returns how many of `slices` one request takes, and shortens the last of them if it must.
    [[nodiscard]] std::size_t make(std::span<io_slice> slices) noexcept {
        // Beyond UIO_MAXIOV the call would fail with EMSGSIZE; a short transfer is legal.
        const std::size_t most = std::min(slices.size(), std::size_t{UIO_MAXIOV});
        std::size_t left = most_bytes_at_once;
        for (std::size_t i = 0; i < most; ++i) {
            if (slices[i].size > left) {
                if (left == 0) return i;
                cut_ = &slices[i];
                whole_ = std::exchange(cut_->size, left);
                return i + 1;
            }
            left -= slices[i].size;
        }
        return most;
    }
    void undo() noexcept {
        if (cut_ != nullptr) cut_->size = whole_;
        cut_ = nullptr;
    }

private:
    io_slice* cut_ = nullptr;
    std::size_t whole_ = 0;
};

}}}  // namespace coro::v0::detail
