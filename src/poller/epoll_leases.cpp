// The pool of buffers that the epoll poller lends: it grows when it is found empty.
#include "poller/epoll_poller.hpp"

#include <algorithm>
#include <utility>

#include <coro/base/assert.hpp>

namespace coro::inline v0::detail {

void epoll_poller::grow_pool(std::uint32_t count) noexcept {
    const std::uint32_t before = std::exchange(pool_count_, count);
    for (std::uint32_t id = count; id-- > before;) free_leases_.push_back(id);
}

/// One wait() may fill a buffer for each of its events before anybody has run and given one back:
/// with a pool of 64 that did not grow, a thousand busy connections cost 1.38 times the raw server.
bool epoll_poller::take_lease(lease& out) noexcept {
    if (free_leases_.empty() && pool_count_ < options_.lease_buffers_most)
        grow_pool(std::min(2 * pool_count_, options_.lease_buffers_most));
    if (free_leases_.empty()) return take_heap_lease(out);
    const std::uint32_t id = free_leases_.back();
    free_leases_.pop_back();
    leased_[id] = true;
    ++leases_out_;
    out = {id, pool_.get() + std::size_t{id} * options_.lease_buffer_bytes, false};
    return true;
}

void epoll_poller::return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept {
    if (from_heap) {
        give_heap_lease(data);
        return;
    }
    CORO_ASSERT(lease_id < leased_.size() && leased_[lease_id],
                "a leased buffer was returned twice, or to a poller that did not lend it");
    leased_[lease_id] = false;
    free_leases_.push_back(lease_id);
    --leases_out_;
}

}  // namespace coro::inline v0::detail
