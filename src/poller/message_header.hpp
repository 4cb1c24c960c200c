// The header of recvmsg(2) and sendmsg(2) for one datagram: the same for both pollers.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// One buffer, which is never cut: a datagram moves whole.
inline msghdr receive_header(datagram_request& into) noexcept {
    into.truncated = false;
    msghdr header{};
    header.msg_name = into.peer.bytes.data();
    header.msg_namelen = static_cast<socklen_t>(into.peer.bytes.size());
    header.msg_iov = reinterpret_cast<iovec*>(&into.bytes);
    header.msg_iovlen = 1;
    return header;
}

inline msghdr send_header(datagram_request& from) noexcept {
    msghdr header{};
    if (from.peer.size != 0) header.msg_name = from.peer.bytes.data();
    header.msg_namelen = from.peer.size;
    header.msg_iov = reinterpret_cast<iovec*>(&from.bytes);
    header.msg_iovlen = 1;
    return header;
}

/// What the kernel has written into the header of a receive that took a datagram.
inline void note_received(datagram_request& into, const msghdr& header) noexcept {
    into.peer.size = header.msg_namelen;
    into.truncated = (header.msg_flags & MSG_TRUNC) != 0;
}

}}}  // namespace coro::v0::detail
