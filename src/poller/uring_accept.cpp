// Accepting by io_uring: one connection for each accept, as the caller asks for it. A request that
// accepts many times would take all that wait, whatever the caller has room for: decision 0051.
//
// A burst is taken by accept4(2) in submit(), without a turn for each. Only an accept that finds
// nobody becomes a request of the ring.
#include "poller/uring_poller.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "poller/kernel_order.hpp"
#include "poller/uring_state.hpp"

namespace coro { inline namespace v0 { namespace detail {

using namespace uring;

/// Where accept(2) writes the peer's address: getpeername(2) would be a call more.
compact_address& uring_poller::room_for_peer(socket_slot& place) noexcept {
    place.remote.size = static_cast<std::uint32_t>(place.remote.bytes.size());
    return place.remote;
}

/// Completes `op` with a connection that waits, or with an error; false when it has to wait, and
/// then it has the slot of its connection: what the kernel accepts is never without a place.
bool uring_poller::accept_now(socket_slot& listener, operation& op) noexcept {
    // The request of one would have no end: EOPNOTSUPP of an accept reads as a dead connection.
    if (listener.datagram) return answer(op, -EOPNOTSUPP);
    socket_slot* const place = take_slot();
    if (place == nullptr) return answer(op, -ENOMEM);
    op.backend_pointer = place;
    const bool may_wait = op.code == opcode::accept;
    if (!listener.readable && may_wait) return false;
    int descriptor = -1;
    for (int tries = 0; tries < most_attempts; ++tries) {
        compact_address& peer = room_for_peer(*place);
        descriptor = ::accept4(listener.descriptor, reinterpret_cast<sockaddr*>(peer.bytes.data()),
                               &peer.size, accept_flags);
        if (descriptor >= 0 || (errno != EINTR && !is_dead_connection(errno))) break;
    }
    const std::int32_t result = descriptor < 0 ? -errno : descriptor;
    if (is_no_answer(result)) listener.readable = false;
    if (may_wait && (is_no_answer(result) || is_dead_connection(-result))) return false;
    if (result >= 0) accepted(listener, op, result);
    give_back(op);
    return answer(op, result < 0 ? result : 0);
}

/// `descriptor` was accepted for `op`.
void uring_poller::accepted(socket_slot& listener, operation& op, int descriptor) noexcept {
    socket_slot& place = *static_cast<socket_slot*>(std::exchange(op.backend_pointer, nullptr));
    take_from_kernel();
    listener.readable = true;  // who came may not have come alone
    open_slot(place, descriptor);
    keep_accepted_peer(place, listener.local);  // which the kernel has written
    note_task(place.notes, op);
    op.accepted = handle_of(place);
}

}}}  // namespace coro::v0::detail
