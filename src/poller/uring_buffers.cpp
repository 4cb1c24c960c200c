// Registration of the buffer ring, and the record of the holder of each buffer.
#include "poller/uring_buffers.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <new>
#include <utility>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// io_uring_register(2), IORING_REGISTER_PBUF_RING: at most 2^15 entries.
constexpr unsigned ring_size_most = 1u << 15;

}  // namespace

bool uring_buffers::open(uring_ring& ring, const poller_options& options) noexcept {
    const unsigned first = std::min(options.lease_buffers, ring_size_most);
    bytes_ = options.lease_buffer_bytes;
    if (first == 0 || bytes_ == 0) return true;
    most_ = std::clamp(options.lease_buffers_most, first, ring_size_most);
    // A limit on the address space leaves room for fewer.
    while (!memory_.reserve(most_ * bytes_)) {
        if (most_ == first) return false;
        most_ = std::max(first, most_ / 2);
    }
    try {
        out_.resize(most_, true);
        free_.reserve(most_);
    } catch (const std::bad_alloc&) {
        return false;
    }
    kernel_chooses_ = ring.has(uring_buffer_ring) && provide_ring(ring);
    add(first);
    return true;
}

bool uring_buffers::grow() noexcept {
    if (count_ == most_) return false;
    add(std::min(2 * count_, most_));
    return true;
}

/// Puts the new ones in, from the last to the first.
void uring_buffers::add(unsigned up_to) noexcept {
    const unsigned before = std::exchange(count_, up_to);
    for (unsigned id = up_to; id-- > before;) give_back(id);
}

bool uring_buffers::provide_ring(uring_ring& ring) noexcept {
    const unsigned places = std::bit_ceil(most_);
    const std::size_t size = places * sizeof(io_uring_buf);
    if (!entries_.reserve(size)) return false;
    // The kernel has pinned these pages: a child's copy would be of no use to it.
    ::madvise(entries_.at(0), size, MADV_DONTFORK);
    io_uring_buf_reg where{};
    where.ring_addr = reinterpret_cast<std::uintptr_t>(entries_.at(0));
    where.ring_entries = places;
    where.bgid = group;
    mask_ = static_cast<std::uint16_t>(places - 1);
    return ring.register_thing(IORING_REGISTER_PBUF_RING, &where, 1) == 0;
}

void uring_buffers::taken(std::uint32_t id) noexcept {
    CORO_ASSERT(id < count_ && !out_[id], "the kernel chose a lease buffer that is in use");
    out_[id] = true;
    --available_;
}

std::uint32_t uring_buffers::take() noexcept {
    const std::uint32_t id = free_.back();
    free_.pop_back();
    taken(id);
    return id;
}

void uring_buffers::give_back(std::uint32_t id) noexcept {
    CORO_ASSERT(id < count_ && out_[id],
                "a leased buffer was returned twice, or to a poller that did not lend it");
    out_[id] = false;
    ++available_;
    if (!kernel_chooses_) {
        free_.push_back(id);
        return;
    }
    // Field by field: the tail of the ring lies over `resv` of the first entry.
    io_uring_buf& entry = ring_buffers(entries_.at(0))[tail_ & mask_];
    entry.addr = reinterpret_cast<std::uintptr_t>(at(id));
    entry.len = static_cast<std::uint32_t>(bytes_);
    entry.bid = static_cast<std::uint16_t>(id);
    ++tail_;
    std::atomic_ref(*ring_buffers_tail(entries_.at(0))).store(tail_, std::memory_order_release);
}

}}}  // namespace coro::v0::detail
