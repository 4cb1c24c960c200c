// What the kernel still has to do for a connection of this process. A test that waits for "nothing
// moves any more" asks the kernel instead of a clock: on a busy machine a clock has no answer.
#pragma once

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <string>
#include <vector>

#include <coro/net/tcp.hpp>

namespace coro { inline namespace v0 { namespace detail::conformance {

inline constexpr int most_descriptors = 1024;

/// getsockname(2) or getpeername(2) of a descriptor: its port, -1 when it has none.
inline int port_of(decltype(&::getsockname) ask, int descriptor) {
    sockaddr_in name{};
    socklen_t size = sizeof name;
    const int failed = ask(descriptor, reinterpret_cast<sockaddr*>(&name), &size);
    return failed != 0 || name.sin_family != AF_INET ? -1 : ntohs(name.sin_port);
}

/// The descriptor with this local port and, unless it is 0, this port at the other end (127.0.0.1);
/// -1 when there is none, as in a simulation.
inline int descriptor_of(std::uint16_t local, std::uint16_t remote) {
    for (int descriptor = 0; descriptor < most_descriptors; ++descriptor) {
        if (port_of(::getsockname, descriptor) != local) continue;
        if (remote == 0 || port_of(::getpeername, descriptor) == remote) return descriptor;
    }
    return -1;
}

/// The descriptors of all connections with this local port.
inline std::vector<int> connections_of(std::uint16_t local) {
    std::vector<int> all;
    for (int descriptor = 0; descriptor < most_descriptors; ++descriptor) {
        if (port_of(::getsockname, descriptor) != local) continue;
        if (port_of(::getpeername, descriptor) >= 0) all.push_back(descriptor);
    }
    return all;
}

/// tcp(7), SIOCOUTQ and SIOCOUTQNSD: whether the peer has acknowledged all that was sent. Only then
/// it is known what room there is.
[[nodiscard]] inline bool is_acknowledged(const net::tcp_stream& near) {
    const int descriptor =
        descriptor_of(near.local_endpoint().port(), near.remote_endpoint().port());
    if (descriptor < 0) return true;
    int queued = 0;
    int unsent = 0;
    ::ioctl(descriptor, SIOCOUTQ, &queued);
    ::ioctl(descriptor, SIOCOUTQNSD, &unsent);
    return queued == unsent;
}

/// tcp(7), SIOCOUTQ: the bytes that were sent and that the peer's system has not acknowledged.
[[nodiscard]] inline int unacknowledged_bytes(int descriptor) {
    int queued = 0;
    ::ioctl(descriptor, SIOCOUTQ, &queued);
    return queued;
}

/// tcp(7), SIOCINQ: the bytes that have come and that nobody has read.
[[nodiscard]] inline int unread_bytes(int descriptor) {
    int unread = 0;
    ::ioctl(descriptor, SIOCINQ, &unread);
    return unread;
}

/// Whether nothing is on the way from near to far, nor waits to be read there.
[[nodiscard]] inline bool is_drained(const net::tcp_stream& near, const net::tcp_stream& far) {
    const std::uint16_t local = near.local_endpoint().port();
    const std::uint16_t remote = far.local_endpoint().port();
    const int from = descriptor_of(local, remote);
    const int to = descriptor_of(remote, local);
    return (from < 0 || unacknowledged_bytes(from) == 0) && (to < 0 || unread_bytes(to) == 0);
}

/// TCP_INFO; that of a listener has the length of its queue in tcpi_unacked and the limit in
/// tcpi_sacked.
[[nodiscard]] inline tcp_info queue_of(int descriptor) {
    tcp_info known{};
    socklen_t size = sizeof known;
    ::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &known, &size);
    return known;
}

/// Whether `listener` takes no more connections: the kernel then drops each handshake.
[[nodiscard]] inline bool is_full(const net::tcp_listener& listener, bool otherwise) {
    const int descriptor = descriptor_of(listener.local_endpoint().port(), 0);
    if (descriptor < 0) return otherwise;
    const tcp_info known = queue_of(descriptor);
    return known.tcpi_unacked > known.tcpi_sacked;
}

/// How many connections wait in the queue of the listener with this port. A client is connected
/// before it waits there: its last packet of the handshake may be on the way.
[[nodiscard]] inline std::size_t queue_length(std::uint16_t port, std::size_t otherwise) {
    const int descriptor = descriptor_of(port, 0);
    return descriptor < 0 ? otherwise : queue_of(descriptor).tcpi_unacked;
}

}}}  // namespace coro::v0::detail::conformance
