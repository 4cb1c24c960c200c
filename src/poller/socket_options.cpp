// The options of sockets that are no number under one name.
#include "poller/socket_options.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

bool is_of_ipv6(int descriptor) noexcept {
    int domain = 0;
    socklen_t size = sizeof domain;
    return ::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           domain == AF_INET6;
}

int set_number(int descriptor, option_name option, int value) noexcept {
    const int failed =
        ::setsockopt(descriptor, option.level, option.name, &value, sizeof value);
    return failed == 0 ? 0 : -errno;
}

}  // namespace

option_name name_of_traffic_class(int descriptor) noexcept {
    return is_of_ipv6(descriptor) ? option_name{IPPROTO_IPV6, IPV6_TCLASS}
                                  : option_name{IPPROTO_IP, IP_TOS};
}

/// A socket of IPv6 has both: packets to a v4-mapped peer are of IPv4.
int posix_sockets::set_traffic_class(int descriptor, int value) noexcept {
    const option_name own = name_of_traffic_class(descriptor);
    if (const int error = set_number(descriptor, own, value); error != 0) return error;
    return own.level == IPPROTO_IP ? 0 : set_number(descriptor, {IPPROTO_IP, IP_TOS}, value);
}

int posix_sockets::set_congestion(detail::handle socket, const congestion_name& name) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (slot->datagram || slot->local) return -EOPNOTSUPP;
    const auto size = static_cast<socklen_t>(::strnlen(name.data(), name.size()));
    const int failed =
        ::setsockopt(slot->descriptor, IPPROTO_TCP, TCP_CONGESTION, name.data(), size);
    return failed == 0 ? 0 : -errno;
}

int posix_sockets::get_congestion(detail::handle socket, congestion_name& name) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (slot->datagram || slot->local) return -EOPNOTSUPP;
    congestion_name found{};
    auto size = static_cast<socklen_t>(found.size());
    if (::getsockopt(slot->descriptor, IPPROTO_TCP, TCP_CONGESTION, found.data(), &size) != 0)
        return -errno;
    name = found;
    return 0;
}

}}}  // namespace coro::v0::detail
