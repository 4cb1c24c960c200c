// The bytes on their way to one simulated socket: first in flight, then visible, then taken.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A ring of bytes that grows up to what its user appends; the user bounds that. Bytes appended are
/// in flight until reveal() makes them visible, in order.
class byte_pipe {
public:
    [[nodiscard]] std::size_t visible() const noexcept { return visible_; }
    /// Visible and in flight together.
    [[nodiscard]] std::size_t buffered() const noexcept { return size_; }

    void append(const void* from, std::size_t size) {
        if (size == 0) return;
        if (size_ + size > ring_.size()) grow(size_ + size);
        const std::size_t tail = (head_ + size_) % ring_.size();
        const std::size_t first = std::min(size, ring_.size() - tail);
        std::memcpy(ring_.data() + tail, from, first);
        std::memcpy(ring_.data(), static_cast<const std::byte*>(from) + first, size - first);
        size_ += size;
    }

    void reveal(std::size_t size) noexcept {
        CORO_ASSERT(visible_ + size <= size_, "simulation: more bytes arrived than were sent");
        visible_ += size;
    }

    /// Takes exactly `size` bytes. Requires: size <= visible().
    void take(void* into, std::size_t size) noexcept {
        CORO_ASSERT(size <= visible_, "simulation: bytes were read before they arrived");
        if (size == 0) return;
        const std::size_t first = std::min(size, ring_.size() - head_);
        std::memcpy(into, ring_.data() + head_, first);
        std::memcpy(static_cast<std::byte*>(into) + first, ring_.data(), size - first);
        head_ = (head_ + size) % ring_.size();
        size_ -= size;
        visible_ -= size;
    }

    void clear() noexcept { head_ = size_ = visible_ = 0; }

private:
    static constexpr std::size_t smallest_ring = 1024;

    void grow(std::size_t needed) {
        std::vector<std::byte> larger(std::max({needed, ring_.size() * 2, smallest_ring}));
        if (size_ > 0) {
            const std::size_t first = std::min(size_, ring_.size() - head_);
            std::memcpy(larger.data(), ring_.data() + head_, first);
            std::memcpy(larger.data() + first, ring_.data(), size_ - first);
        }
        ring_.swap(larger);
        head_ = 0;
    }

    std::vector<std::byte> ring_;
    std::size_t head_ = 0;
    std::size_t size_ = 0;
    std::size_t visible_ = 0;
};

}}}  // namespace coro::v0::detail
