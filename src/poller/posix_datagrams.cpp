// What both pollers of the kernel ask about datagram sockets, all of it cold.
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail {

std::int32_t posix_sockets::check_where(const socket_slot& slot,
                                        const socket_address& where) noexcept {
    if (where.size > where.bytes.size()) return -EINVAL;
    if (!slot.datagram || where.size < sizeof(sa_family_t)) return 0;
    sa_family_t family = AF_UNSPEC;
    std::memcpy(&family, where.bytes.data(), sizeof family);
    return family == AF_UNSPEC ? -EAFNOSUPPORT : 0;
}

std::int32_t posix_sockets::why_no_room(const socket_slot& slot,
                                        const datagram_request& from) noexcept {
    if (slot.local) return from.peer.size != 0 ? -ENOBUFS : 0;
    sockaddr_in6 ours{};
    socklen_t size = sizeof ours;
    if (::getsockname(slot.descriptor, reinterpret_cast<sockaddr*>(&ours), &size) != 0) return 0;
    const bool of_ip = ours.sin6_family == AF_INET || ours.sin6_family == AF_INET6;
    // The port has the same place in both kinds of address.
    return of_ip && ours.sin6_port == 0 ? -EADDRNOTAVAIL : 0;
}

}}}  // namespace coro::v0::detail
