// Datagrams by epoll: tried at once, then again after the edge, as all transfers are.
//
// What differs from a stream: a receive that takes less than it has room for says nothing about the
// queue, so only EAGAIN clears `readable`. A send takes all or nothing, so only EAGAIN clears
// `writable`. An error that the network has sent back (ECONNREFUSED) is an edge of its own.
#include "poller/epoll_poller.hpp"

#include <sys/socket.h>

#include <cerrno>

#include "poller/epoll_state.hpp"
#include "poller/message_header.hpp"

namespace coro { inline namespace v0 { namespace detail {

using namespace epoll;

std::int32_t epoll_poller::try_receive_from(socket_slot& slot, operation& op) noexcept {
    if (const std::int32_t refused = check_datagram(slot, op); refused != 0) return refused;
    datagram_request& into = *op.datagram;
    ++counters.receives;
    msghdr header = receive_header(into);
    const std::int32_t got =
        uninterrupted([&] { return ::recvmsg(slot.descriptor, &header, 0); });
    if (got == -EAGAIN) {
        ++counters.would_block;
        slot.readable = false;
        return would_block;
    }
    if (got >= 0) note_received(into, header);
    return got;
}

std::int32_t epoll_poller::try_send_to(socket_slot& slot, operation& op) noexcept {
    if (const std::int32_t refused = check_datagram(slot, op); refused != 0) return refused;
    ++counters.sends;
    const msghdr header = send_header(*op.datagram);
    const std::int32_t sent =
        uninterrupted([&] { return ::sendmsg(slot.descriptor, &header, MSG_NOSIGNAL); });
    if (sent != -EAGAIN) return sent;
    ++counters.would_block;
    // No edge announces what it needs, or each try makes an edge of its own.
    if (const std::int32_t why = why_no_room(slot, *op.datagram); why != 0) return why;
    slot.writable = false;
    return would_block;
}

}}}  // namespace coro::v0::detail
