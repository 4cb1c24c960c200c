// The buffers that a simulated receive_leased lends: a pool first, then the heap up to a cap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/poller.hpp"
#include "runtime/poller_options.hpp"

namespace coro { inline namespace v0 { namespace detail {

class lease_pool {
public:
    struct lease {
        std::uint32_t id = 0;
        std::byte* data = nullptr;
        bool from_heap = false;
    };

    explicit lease_pool(const poller_options& options);

    [[nodiscard]] std::size_t buffer_bytes() const noexcept { return buffer_bytes_; }
    [[nodiscard]] std::uint64_t lent() const noexcept { return lent_; }

    /// False when the pool is empty and the cap on the heap is reached.
    bool take(lease& out) noexcept;
    /// Overwrites the buffer before it is free again. So a reader of a lease that was returned
    /// reads nonsense at once, and not only when the buffer is lent anew.
    void give_back(const lease& back) noexcept;

private:
    struct buffer {
        std::unique_ptr<std::byte[]> data;
        bool lent = false;
    };

    std::size_t buffer_bytes_;
    std::size_t heap_cap_;
    std::size_t heap_lent_ = 0;
    std::uint64_t lent_ = 0;
    std::vector<buffer> pool_;
    std::vector<std::uint32_t> free_;  ///< last in, first out: reuse shows soon
};

}}}  // namespace coro::v0::detail
