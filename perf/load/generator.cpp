// The loop of the load generator: opening, sending, receiving; see generator.hpp for the rules.
#include "load/generator.hpp"

#include "common/failure.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

namespace load {

namespace {

constexpr std::size_t most_opening = 128;
constexpr std::size_t firehose_block = 64 << 10;
constexpr std::size_t firehose_depth = 16;
/// 16 MiB in flight on a slow connection: more than the largest send buffer of the server's kernel
/// (4 MiB, tcp_wmem) and this side's small one take, so that the server's writes meet a full one.
constexpr std::size_t slow_depth = 256;
constexpr int slow_receive_buffer = 16 << 10;
/// Of the generator itself: the epoll, the standard streams, and what a library may open.
constexpr std::size_t own_descriptors = 16;
constexpr std::size_t send_bytes = 64 << 10;
constexpr std::size_t receive_bytes = 256 << 10;
constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t patience = 10 * second;  // without progress, while opening and draining

in_addr parsed(std::string_view address) {
    in_addr found{};
    inet_pton(AF_INET, std::string(address).c_str(), &found);
    return found;
}

}  // namespace

generator::generator(const load_options& options)
    : options_(options),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      send_scratch_(send_bytes),
      receive_scratch_(receive_bytes) {
    if (epoll_ < 0) perf::fail_errno("create the epoll", errno, "raise ulimit -n");
    check_descriptors();
    server_.sin_family = AF_INET;
    server_.sin_port = htons(options_.port);
    server_.sin_addr = parsed(options_.address);
    if (options_.server != 0) {
        server_clock_.emplace(options_.server);
        memory_before_ = perf::memory_of(options_.server);
    }
    kernel_before_ = perf::memory_of_kernel();
    cast_parts();
}

void generator::check_descriptors() const {
    rlimit limit{};
    const std::size_t wanted = options_.connections + options_.firehoses + own_descriptors;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        perf::fail("open " + std::to_string(options_.connections + options_.firehoses) +
                   " connections: this process may have " + std::to_string(limit.rlim_cur) +
                   " descriptors; raise ulimit -n, or use several generators with fewer");
    }
}

/// Those that are active or slow are spread over all, so that they are no neighbours in any table
/// of the server.
void generator::cast_parts() {
    const std::size_t all = options_.connections;
    streams_ = all + options_.firehoses;
    connections_.reserve(all + options_.firehoses);
    const bool many_parts = options_.greedy != 0 || options_.slow != 0;
    const auto falls_on = [all](std::size_t number, std::size_t chosen) {
        return number * chosen / all != (number + 1) * chosen / all;
    };
    for (std::size_t i = 0; i < all; ++i) {
        if (options_.greedy != 0 && i + 1 == all) {
            add(options_.size, options_.greedy, part::greedy);
        } else if (options_.slow != 0 && falls_on(i, options_.slow)) {
            add(firehose_block, slow_depth, part::slow);
        } else if (many_parts || falls_on(i, options_.active)) {
            add(options_.size, options_.depth, part::polite);
        } else {
            add(options_.size, 1, part::idle);
        }
    }
    for (std::size_t i = 0; i < options_.firehoses; ++i)
        add(firehose_block, firehose_depth, part::firehose);
}

void generator::add(std::size_t message_bytes, std::size_t depth, part plays) {
    const auto number = static_cast<std::uint32_t>(connections_.size());
    connection& added = connections_.emplace_back(number, message_bytes, depth, plays);
    if (plays == part::polite) {
        added.turn = static_cast<std::uint32_t>(polite_.size());
        polite_.push_back(number);
    }
    if (plays == part::slow) slow_.push_back(number);
}

generator::~generator() {
    for (const connection& each : connections_) {
        if (each.fd >= 0) close(each.fd);
    }
    close(epoll_);
}

void generator::open_all() {
    std::size_t next = 0;
    std::size_t seen = 0;
    std::int64_t progress = perf::monotonic_nanoseconds();
    while (open_ < connections_.size()) {
        while (opening_ < most_opening && next < connections_.size()) {
            open_one(connections_[next++]);
        }
        const std::int64_t now = turn(progress + patience);
        if (open_ != seen) {
            seen = open_;
            progress = now;
        } else if (now - progress >= patience) {
            perf::fail("open connections: " + std::to_string(open_) + " of " +
                       std::to_string(connections_.size()) +
                       " answered and no further one for 10 s; check the server");
        }
    }
}

void generator::open_one(connection& peer) {
    connect_one(peer);
    ++opening_;
    ++alive_;
}

/// The old descriptor leaves the epoll with its close, so no event of it can come any more.
void generator::reconnect(connection& peer) {
    close(peer.fd);
    peer.restart(streams_++);
    connect_one(peer);
}

void generator::connect_one(connection& peer) {
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peer.fd < 0) {
        perf::fail_errno("open socket " + std::to_string(peer.number()), errno,
                         "raise ulimit -n or ask for fewer --connections");
    }
    const int on = 1;
    setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (peer.plays == part::slow) {  // before connect(): the window is told in the handshake
        setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &slow_receive_buffer,
                   sizeof slow_receive_buffer);
    }
    if (!options_.source.empty()) bind_source(peer);
    if (connect(peer.fd, reinterpret_cast<const sockaddr*>(&server_), sizeof server_) != 0 &&
        errno != EINPROGRESS) {
        const std::string doing =
            "connect " + std::string(options_.address) + ":" + std::to_string(options_.port);
        perf::fail_errno(doing, errno,
                         errno == EADDRNOTAVAIL
                             ? "connections, open and closed ones, hold all ports of this address; "
                               "give another --source (127.0.0.2), wait for a minute, or let Linux "
                               "reuse those of closed ones (net.ipv4.tcp_tw_reuse = 2, its default)"
                             : "start the server first, or ask for fewer --connections");
    }
    peer.start_message(perf::monotonic_nanoseconds());
    peer.wants_space = true;
    watch(EPOLL_CTL_ADD, peer);
}

/// Without a port: IP_BIND_ADDRESS_NO_PORT lets connect() choose it, which may give the same port
/// to connections with different servers.
void generator::bind_source(const connection& peer) const {
    const int on = 1;
    setsockopt(peer.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    sockaddr_in own{};
    own.sin_family = AF_INET;
    own.sin_addr = parsed(options_.source);
    if (bind(peer.fd, reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0) {
        perf::fail_errno("bind --source " + std::string(options_.source), errno,
                         "choose an address of this machine, as 127.0.0.2");
    }
}

void generator::watch(int operation, connection& peer) {
    epoll_event event{};
    event.events = (peer.deaf ? 0u : std::uint32_t{EPOLLIN}) |
                   (peer.wants_space ? std::uint32_t{EPOLLOUT} : 0u);
    event.data.u32 = peer.number();
    if (epoll_ctl(epoll_, operation, peer.fd, &event) != 0) {
        perf::fail_errno("watch connection " + std::to_string(peer.number()), errno,
                         "report this; it should not happen");
    }
}

std::int64_t generator::turn(std::int64_t deadline) {
    timespec wait{};
    if (!options_.poll) {
        const std::int64_t left =
            std::clamp<std::int64_t>(deadline - perf::monotonic_nanoseconds(), 0, second);
        wait.tv_sec = left / second;
        wait.tv_nsec = left % second;
    }
    const int count =
        epoll_pwait2(epoll_, events_.data(), static_cast<int>(events_.size()), &wait, nullptr);
    if (count < 0 && errno != EINTR) {
        perf::fail_errno("wait for events", errno, "report this; it should not happen");
    }
    for (int i = 0; i < count; ++i) {
        const epoll_event& event = events_[static_cast<std::size_t>(i)];
        serve(connections_[event.data.u32], event.events);
    }
    return perf::monotonic_nanoseconds();
}

/// One receive per turn and connection: a firehose cannot keep the generator from its pings.
void generator::serve(connection& peer, std::uint32_t ready) {
    if (peer.fd < 0) return;
    if ((ready & ~std::uint32_t{EPOLLOUT}) != 0 && !take(peer, receive_scratch_)) return;
    push(peer);
}

/// Receives once; false when the connection is lost.
bool generator::take(connection& peer, std::span<std::byte> scratch) {
    int error = 0;
    switch (peer.receive(scratch, error)) {
        case arrival::bytes:
            take_messages(peer);
            return true;
        case arrival::nothing:
            return true;
        case arrival::end_of_stream:
            lose(peer, true, 0);
            return false;
        case arrival::error:
            break;
    }
    lose(peer, false, error);
    return false;
}

void generator::take_messages(connection& peer) {
    std::uint64_t arrived = peer.arrived();
    if (arrived == 0) return;
    if (phase_ == phase::opening && peer.completed() == 0) {
        --opening_;
        ++open_;
    }
    const std::int64_t now = perf::monotonic_nanoseconds();
    const bool again = phase_ == phase::flowing && !options_.brief && !is_paced(peer);
    total_ += arrived;
    for (; arrived > 0; --arrived) {
        count(peer, peer.complete_message(), now);
        if (again) peer.start_message(now);
    }
    if (phase_ == phase::flowing && options_.brief) reconnect(peer);
    if (peer.due > 0) start_waiting(peer);  // after the window too: they were due in it
}

void generator::count(connection& peer, std::int64_t started, std::int64_t now) {
    const bool was_due = started >= window_start_ && started < window_end_;
    if (is_paced(peer) ? was_due : measuring_ && peer.plays == part::polite) {
        window_.latency.add(static_cast<std::uint64_t>(std::max<std::int64_t>(now - started, 0)));
    }
    if (!measuring_) return;
    if (peer.plays == part::polite) {
        ++window_.messages;
        ++peer.counted;
    } else if (peer.plays == part::greedy) {
        ++window_.greedy_messages;
    } else if (peer.plays == part::firehose) {
        window_.firehose_bytes += peer.message_bytes();
    }
}

void generator::push(connection& peer) {
    const int error = peer.has_unsent() ? peer.send_unsent(send_scratch_) : 0;
    if (error != 0 && error != EAGAIN) {
        lose(peer, false, error);
        return;
    }
    if (const bool blocked = error == EAGAIN; blocked != peer.wants_space) {
        peer.wants_space = blocked;
        watch(EPOLL_CTL_MOD, peer);
    }
}

void generator::lose(connection& peer, bool eof, int error) {
    const std::string doing = peer.completed() == 0 ? "open connection " : "use connection ";
    const std::string sentence =
        doing + std::to_string(peer.number()) + ": " +
        (eof ? "the server closed it" : std::string(std::strerror(error))) + " after " +
        std::to_string(peer.completed()) + " messages";
    if (phase_ == phase::opening) {
        perf::fail(sentence + "; check that the server runs and may open enough descriptors");
    }
    if (found_.first_end.empty()) found_.first_end = sentence;
    ++(eof ? found_.ended_by_eof : found_.ended_by_error);
    --alive_;
    close(peer.fd);
    peer.fd = -1;
}

}  // namespace load
