// read_lease: a buffer of the loop with the bytes that have come.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <coro/base/bytes.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/core/detail/loop.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace detail {
class lease_awaiter;
}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

/// The most buffers that one vectored read or write takes.
inline constexpr std::size_t most_slices = 16;

/// A read buffer lent by the loop's pool, with the bytes that have come. Move-only; goes back at
/// the end of its life, which must be on its loop. Empty at the end of the stream.
class read_lease {
public:
    read_lease() noexcept = default;
    read_lease(read_lease&& other) noexcept { swap(other); }
    read_lease& operator=(read_lease&& other) noexcept {
        read_lease(std::move(other)).swap(*this);
        return *this;
    }
    ~read_lease() {
        if (data_ != nullptr) give_back();
    }

    /// The bytes that were read; empty at the end of the stream.
    [[nodiscard]] mutable_bytes bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] explicit operator bool() const noexcept { return size_ != 0; }

private:
    friend class detail::lease_awaiter;
    read_lease(detail::loop& loop, const detail::operation& from) noexcept
        : loop_(loop.id),
          data_(static_cast<std::byte*>(from.lease_data)),
          size_(static_cast<std::size_t>(from.result)),
          id_(from.lease_id),
          from_heap_(from.lease_from_heap) {}
    CORO_EXPORT void give_back() noexcept;
    void swap(read_lease& other) noexcept {
        std::swap(loop_, other.loop_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(id_, other.id_);
        std::swap(from_heap_, other.from_heap_);
    }

    detail::loop_id loop_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::uint32_t id_ = 0;
    bool from_heap_ = false;
};

}}}  // namespace coro::v0::net
