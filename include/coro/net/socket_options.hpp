// Options of TCP sockets, for the kernel, before a listener listens or a stream connects.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
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

/// The name of a congestion control, such as `cubic` or `bbr`. A value that owns no memory. A name
/// with more than 15 characters is not kept: where it is set, it is an error.
class congestion_control {
public:
    static constexpr std::size_t longest = 15;  ///< characters, the kernel's TCP_CA_NAME_MAX less 1

    constexpr congestion_control(std::string_view name) noexcept  // NOLINT: `= "bbr"` is a name
        : too_long_(name.size() > longest) {
        if (too_long_) return;
        for (const char each : name) name_[size_++] = each;
    }
    constexpr congestion_control(const char* name) noexcept  // NOLINT: as above
        : congestion_control(std::string_view(name)) {}

    [[nodiscard]] constexpr std::string_view name() const noexcept {
        return {name_.data(), size_};
    }
    [[nodiscard]] constexpr bool is_too_long() const noexcept { return too_long_; }

private:
    std::array<char, longest + 1> name_{};
    std::uint8_t size_ = 0;
    bool too_long_ = false;
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
    /// Acknowledge at once what comes, instead of 40 ms later or with an answer. Not for good: the
    /// kernel goes back by itself when the connection turns out to be one of questions and answers.
    /// Accepted connections do not inherit it: set it on the stream. See: tcp(7) TCP_QUICKACK.
    std::optional<bool> quick_ack = std::nullopt;
    /// Send full segments only, as long as it is on, but no byte later than 200 ms. See also
    /// tcp_stream::cork(). See: tcp(7) TCP_CORK.
    std::optional<bool> cork = std::nullopt;
    /// Its connections share the way by this algorithm. One that this kernel does not know is an
    /// error (no_such_file_or_directory), whose text has those that it knows. Not every user may
    /// choose each (operation_not_permitted): net.ipv4.tcp_allowed_congestion_control. A simulation
    /// takes every name, and does nothing with it. See: tcp(7) TCP_CONGESTION.
    std::optional<net::congestion_control> congestion_control = std::nullopt;
    /// A number on each packet, for routing and filters of this machine. Needs CAP_NET_ADMIN or
    /// CAP_NET_RAW. See: socket(7) SO_MARK.
    std::optional<std::uint32_t> mark = std::nullopt;
    /// The code point of each packet, 0 to 63, for the routers on the way: 46 is expedited
    /// forwarding. Over IPv4 it sets `priority` of this socket too, which the kernel derives from
    /// it. Connections that a listener accepts have the code point, and not that priority.
    /// See: RFC 2474; ip(7) IP_TOS, ipv6(7) IPV6_TCLASS.
    std::optional<unsigned> dscp = std::nullopt;
    /// The band in the queue of a network device, 0 to 6; more with CAP_NET_ADMIN. Accepted
    /// connections do not inherit it: set it on the stream. See: socket(7) SO_PRIORITY.
    std::optional<unsigned> priority = std::nullopt;
    /// A write waits while so many bytes are in the send buffer that were never sent. So what a
    /// program writes last is not behind megabytes of older data. 0 is the system's default,
    /// net.ipv4.tcp_notsent_lowat. See: tcp(7) TCP_NOTSENT_LOWAT.
    std::optional<std::size_t> not_sent_low_water_bytes = std::nullopt;
    /// Bytes of data in a segment at most, 88 to 32767. Before connect or bind: the handshake tells
    /// it to the peer. See: tcp(7) TCP_MAXSEG.
    std::optional<std::size_t> maximum_segment_bytes = std::nullopt;
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
    /// Take data that comes with the SYN of clients that have a cookie of this machine, of so many
    /// handshakes at once. Does nothing unless net.ipv4.tcp_fastopen has bit 2. What a client sends
    /// so may come twice: for requests that may be repeated. See: RFC 7413; tcp(7) TCP_FASTOPEN.
    std::optional<int> fast_open = std::nullopt;
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
    /// Send the first bytes with the SYN, where this machine has a cookie of the server. Then
    /// connect returns at once, and the first write begins the handshake and may throw what a
    /// connect throws; a read before it waits for ever. Without a cookie it asks for one, and
    /// connect is as always. Does nothing unless net.ipv4.tcp_fastopen has bit 1.
    /// See: RFC 7413; tcp(7) TCP_FASTOPEN_CONNECT.
    bool fast_open = false;
};

// Options are passed by value into coroutines: they must own nothing.
static_assert(std::is_trivially_destructible_v<stream_options>);
static_assert(std::is_trivially_destructible_v<listen_options>);
static_assert(std::is_trivially_destructible_v<connect_options>);

}}}  // namespace coro::v0::net
