// The pool of buffers that the epoll poller lends: it grows when it is found empty.
#include "poller/epoll_poller.hpp"

#include <algorithm>
#include <utility>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {

void epoll_poller::grow_pool(std::uint32_t count) noexcept {
    const std::uint32_t before = std::exchange(pool_count_, count);
    for (std::uint32_t id = count; id-- > before;) free_leases_.push_back(id);
}

std::size_t epoll_poller::lend(operation& op) noexcept {
    lease buffer;
    if (!take_lease(buffer)) return 0;
    op.lease_data = buffer.data;
    op.lease_id = buffer.id;
    op.lease_from_heap = buffer.from_heap;
    return options_.lease_buffer_bytes;
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

}}}  // namespace coro::v0::detail
