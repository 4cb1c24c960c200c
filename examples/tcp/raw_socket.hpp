// raw_socket: a TCP socket as the kernel has it, with the calls under their own names and the
// errors as exceptions; what tcp(7), socket(7) and ioctl(2) tell of it is read here too.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>  // newer than netinet/tcp.h, which must not be beside it
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "errors.hpp"
#include "timeline.hpp"

namespace tcp_truth {

/// The states of RFC 9293 §3.3.2, with the numbers of the kernel (include/net/tcp_states.h).
enum class tcp_state : std::uint8_t {
    established = 1,
    syn_sent,
    syn_received,
    fin_wait_1,
    fin_wait_2,
    time_wait,
    closed,
    close_wait,
    last_ack,
    listen,
    closing,
};

inline const char* name_of(tcp_state state) {
    constexpr const char* names[] = {
        "?",           "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
        "TIME_WAIT",   "CLOSE",       "CLOSE_WAIT", "LAST_ACK", "LISTEN",  "CLOSING"};
    const auto number = static_cast<std::size_t>(state);
    return number < std::size(names) ? names[number] : "?";
}

/// What poll(2) has returned: "POLLIN POLLRDHUP", or "nothing".
inline std::string names_of_events(short events) {
    constexpr std::pair<short, const char*> names[] = {{POLLIN, "POLLIN"},
                                                       {POLLOUT, "POLLOUT"},
                                                       {POLLRDHUP, "POLLRDHUP"},
                                                       {POLLERR, "POLLERR"},
                                                       {POLLHUP, "POLLHUP"}};
    std::string text;
    for (const auto& [bit, name] : names)
        if ((events & bit) != 0) text += (text.empty() ? "" : " ") + std::string(name);
    return text.empty() ? "nothing" : text;
}

/// An address of IPv4; 127.0.0.1 unless another host is named.
struct address {
    std::uint16_t port = 0;
    std::uint32_t host = INADDR_LOOPBACK;

    [[nodiscard]] sockaddr_in raw() const {
        sockaddr_in made{};
        made.sin_family = AF_INET;
        made.sin_port = htons(port);
        made.sin_addr.s_addr = htonl(host);
        return made;
    }
    static address of(const sockaddr_in& raw) {
        return {ntohs(raw.sin_port), ntohl(raw.sin_addr.s_addr)};
    }
    friend bool operator==(const address&, const address&) = default;
};

class raw_socket {
public:
    raw_socket()
        : raw_socket(checked("socket", ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))) {}
    explicit raw_socket(int descriptor) : descriptor_(descriptor) {}
    raw_socket(raw_socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
    raw_socket& operator=(raw_socket&& other) noexcept {
        std::swap(descriptor_, other.descriptor_);
        return *this;
    }
    ~raw_socket() { close(); }

    [[nodiscard]] int descriptor() const { return descriptor_; }

    // ---- making a connection ----

    void bind(address where) const {
        const sockaddr_in raw = where.raw();
        checked("bind", ::bind(descriptor_, reinterpret_cast<const sockaddr*>(&raw), sizeof raw));
    }
    void listen(int backlog) const { checked("listen", ::listen(descriptor_, backlog)); }

    /// Waits until the kernel says that the connection is there, or has failed.
    void connect(address to) const {
        if (const int error = connect_error(to); error != 0) fail("connect", error);
    }
    /// The same with the error as a value, 0 for none.
    [[nodiscard]] int connect_error(address to) const {
        const sockaddr_in raw = to.raw();
        const auto* const where = reinterpret_cast<const sockaddr*>(&raw);
        return ::connect(descriptor_, where, sizeof raw) == 0 ? 0 : errno;
    }
    /// Sends the SYN and does not wait; the socket stays non-blocking.
    void begin_connect(address to) const {
        unblock();
        if (const int error = connect_error(to); error != 0 && error != EINPROGRESS)
            fail("connect", error);
    }

    /// Waits for a connection.
    [[nodiscard]] raw_socket accept() const {
        return raw_socket(
            checked("accept", ::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC)));
    }
    /// Empty when the queue has none.
    [[nodiscard]] std::optional<raw_socket> try_accept() const {
        if ((poll_now(POLLIN) & POLLIN) == 0) return std::nullopt;
        return accept();
    }

    [[nodiscard]] address local() const { return name("getsockname", ::getsockname); }
    [[nodiscard]] address peer() const { return name("getpeername", ::getpeername); }

    // ---- bytes ----

    /// How many bytes the kernel took; a broken connection is an exception and no signal.
    std::size_t send(std::string_view bytes, int flags = 0) const {
        return static_cast<std::size_t>(checked(
            "send", ::send(descriptor_, bytes.data(), bytes.size(), flags | MSG_NOSIGNAL)));
    }
    /// Waits for at least one byte; empty at the end of the stream.
    std::string receive(std::size_t most, int flags = 0) const {
        std::string bytes(most, '\0');
        bytes.resize(static_cast<std::size_t>(
            checked("recv", ::recv(descriptor_, bytes.data(), bytes.size(), flags))));
        return bytes;
    }
    /// What a recv(2) that does not wait ends with: the count, or the negated errno.
    [[nodiscard]] long try_receive(std::size_t most) const {
        std::string bytes(most, '\0');
        const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT);
        return got < 0 ? -long{errno} : long{got};
    }
    /// The same for a send(2).
    [[nodiscard]] long try_send(std::string_view bytes) const {
        const ssize_t sent =
            ::send(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        return sent < 0 ? -long{errno} : long{sent};
    }

    // ---- the end ----

    void shutdown(int how = SHUT_WR) const { checked("shutdown", ::shutdown(descriptor_, how)); }
    void close() {
        if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
    }
    /// socket(7), SO_LINGER of no time: the close sends a RST instead of a FIN.
    void reset() {
        set(SOL_SOCKET, SO_LINGER, linger{1, 0});
        close();
    }

    // ---- options and what the kernel tells ----

    void unblock() const { checked("fcntl", ::fcntl(descriptor_, F_SETFL, O_NONBLOCK)); }

    template <typename Value>
    void set(int level, int option, const Value& value) const {
        checked("setsockopt", ::setsockopt(descriptor_, level, option, &value, sizeof value));
    }
    template <typename Value = int>
    [[nodiscard]] Value get(int level, int option) const {
        Value value{};
        socklen_t size = sizeof value;
        checked("getsockopt", ::getsockopt(descriptor_, level, option, &value, &size));
        return value;
    }
    /// SO_ERROR of socket(7): the error that waits for the next call, which this one takes.
    [[nodiscard]] int take_error() const { return get(SOL_SOCKET, SO_ERROR); }

    [[nodiscard]] tcp_info info() const { return get<tcp_info>(IPPROTO_TCP, TCP_INFO); }
    [[nodiscard]] tcp_state state() const { return static_cast<tcp_state>(info().tcpi_state); }
    [[nodiscard]] bool is(tcp_state wanted) const { return state() == wanted; }
    void wait_until(tcp_state wanted) const {
        until("the socket is in " + std::string(name_of(wanted)), [&] { return is(wanted); });
    }

    /// Of a listener (tcp_get_info in net/ipv4/tcp.c): how many connections wait for accept(2).
    [[nodiscard]] std::uint32_t queue_depth() const { return info().tcpi_unacked; }
    /// And how long the queue may be: the backlog, cut to net.core.somaxconn.
    [[nodiscard]] std::uint32_t queue_limit() const { return info().tcpi_sacked; }

    /// tcp(7): bytes that a recv(2) would find.
    [[nodiscard]] int unread() const { return number("SIOCINQ", SIOCINQ); }
    /// Bytes that the peer's kernel has not acknowledged, sent or not; a FIN is one of them.
    [[nodiscard]] int unacknowledged() const { return number("SIOCOUTQ", SIOCOUTQ); }
    /// Those of them that have not been sent.
    [[nodiscard]] int unsent() const { return number("SIOCOUTQNSD", SIOCOUTQNSD); }

    /// What poll(2) says at once, without waiting.
    [[nodiscard]] short poll_now(short events) const {
        pollfd asked{descriptor_, events, 0};
        checked("poll", ::poll(&asked, 1, 0));
        return asked.revents;
    }
    [[nodiscard]] bool readable() const { return (poll_now(POLLIN) & POLLIN) != 0; }
    [[nodiscard]] bool writable() const { return (poll_now(POLLOUT) & POLLOUT) != 0; }

private:
    address name(const char* verb, int (*call)(int, sockaddr*, socklen_t*)) const {
        sockaddr_in raw{};
        socklen_t size = sizeof raw;
        checked(verb, call(descriptor_, reinterpret_cast<sockaddr*>(&raw), &size));
        return address::of(raw);
    }
    int number(const char* verb, unsigned long request) const {
        int value = 0;
        checked(verb, ::ioctl(descriptor_, request, &value));
        return value;
    }

    int descriptor_;
};

/// A listener on any free port of 127.0.0.1, or of `host`.
inline raw_socket listener_of(int backlog, std::uint32_t host = INADDR_LOOPBACK) {
    raw_socket made;
    made.bind({0, host});
    made.listen(backlog);
    return made;
}

/// Both ends of a connection over 127.0.0.1.
struct pair_of_sockets {
    pair_of_sockets() {
        const raw_socket listener = listener_of(1);
        client.connect(listener.local());
        server = listener.accept();
    }
    raw_socket client;
    raw_socket server{-1};
};

}  // namespace tcp_truth
