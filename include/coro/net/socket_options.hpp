// Options of TCP sockets, for the kernel, before a listener listens or a stream connects.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <type_traits>

#include <coro/base/time.hpp>
#include <coro/net/address.hpp>

namespace coro { inline namespace v0 { namespace net {

// Spans go to the kernel rounded up to its unit, and as the nearest that it can hold.

/// When an idle connection is probed, and how often before it counts as dead. The kernel counts
/// whole seconds, 1 s to 32767 s. See: tcp(7).
struct keepalive_options {
    time_span idle = std::chrono::seconds(60);      ///< silence before the first probe
    time_span interval = std::chrono::seconds(10);  ///< between probes
    int count = 6;  ///< unanswered probes that end the connection, 1 to 127
};

/// Options of one connection. An option that is not set stays as the kernel has it.
struct stream_options {
    /// Send small writes at once instead of waiting for the acknowledgement of earlier ones. On by
    /// default here, unlike in the kernel: programs that wait for replies suffer from the delay,
    /// and writes of one turn are merged anyway. See: tcp(7) TCP_NODELAY.
    std::optional<bool> no_delay = true;
    /// The kernel doubles it, and stops adapting the size by itself. See: socket(7) SO_RCVBUF.
    std::optional<std::size_t> receive_buffer_bytes = std::nullopt;
    /// See: socket(7) SO_SNDBUF.
    std::optional<std::size_t> send_buffer_bytes = std::nullopt;
    /// Zero or less: closing throws away what is unsent and resets the connection. A longer time is
    /// told to the kernel, in whole seconds, but not waited for: closing never blocks (see
    /// close_gracefully). See: socket(7) SO_LINGER.
    std::optional<time_span> linger = std::nullopt;
    /// Set: probes are on. See: socket(7) SO_KEEPALIVE.
    std::optional<keepalive_options> keepalive = std::nullopt;
    /// The time that sent data may stay unacknowledged before the connection ends with timed_out.
    /// The kernel counts milliseconds, 1 ms to 24 days. See: tcp(7) TCP_USER_TIMEOUT.
    std::optional<time_span> user_timeout = std::nullopt;
    /// One setting for peers that vanish without a word: their system has answered nothing, no data
    /// and no probe, for so long. Then the connection ends with timed_out, a second later at most.
    /// So does one whose peer has no room for the data that waits for it, for so long. It sets
    /// keepalive (the first probe after three quarters of the span, then one a second) and
    /// user_timeout, and gives way where one of these is set. In whole seconds, 2 s to 9 hours;
    /// `duration::max()`, or any span as great, sets nothing.
    /// See: tcp(7) TCP_KEEPIDLE, TCP_USER_TIMEOUT.
    std::optional<time_span> dead_peer = std::nullopt;
};

/// Options of a listener.
struct listen_options {
    /// Bind although connections of an earlier run are still in TIME_WAIT. See: socket(7).
    bool reuse_address = true;
    /// Several listeners, also of several processes, on one endpoint. Closing one of them resets
    /// the connections that wait in its queue. See: socket(7) SO_REUSEPORT.
    bool reuse_port = false;
    /// On an IPv6 endpoint: refuse IPv4 peers instead of showing them v4-mapped. See: ipv6(7).
    std::optional<bool> v6_only = std::nullopt;
    /// Connections that may wait to be accepted; the kernel cuts it at net.core.somaxconn.
    int backlog = 4096;
    /// Set on the listener, inherited by every connection that it accepts, at no call per
    /// connection.
    stream_options accepted = {};
    /// stream_options::dead_peer of every connection that it accepts, where `accepted` has neither
    /// that nor keepalive nor user_timeout.
    time_span dead_peer = std::chrono::seconds(60);
};

/// Options of an outgoing connection.
struct connect_options {
    stream_options stream = {};
    /// The local address to connect from; port 0 lets the kernel choose.
    std::optional<endpoint> local = std::nullopt;
};

// Options are passed by value into coroutines: they must own nothing.
static_assert(std::is_trivially_destructible_v<stream_options>);
static_assert(std::is_trivially_destructible_v<listen_options>);
static_assert(std::is_trivially_destructible_v<connect_options>);

}}}  // namespace coro::v0::net
