// The loop of the load generator and its phases; see generator.hpp for the rules.
#include "load/generator.hpp"

#include "common/failure.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

namespace load {

namespace {

constexpr std::size_t most_opening = 128;
constexpr std::size_t firehose_block = 64 << 10;
constexpr std::size_t firehose_depth = 16;
constexpr std::size_t send_bytes = 64 << 10;
constexpr std::size_t receive_bytes = 256 << 10;
constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t patience = 10 * second;  // without progress, while opening and draining

std::int64_t own_cpu_nanoseconds() {
    timespec at{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return perf::to_nanoseconds(at);
}

std::int64_t in_nanoseconds(double seconds) {
    return static_cast<std::int64_t>(seconds * static_cast<double>(second));
}

}  // namespace

generator::generator(const load_options& options)
    : options_(options),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      send_scratch_(send_bytes),
      receive_scratch_(receive_bytes) {
    if (epoll_ < 0) perf::fail_errno("create the epoll", errno, "raise ulimit -n");
    if (options_.server != 0) {
        server_clock_.emplace(options_.server);
        memory_before_ = perf::resident_bytes(options_.server);
    }
    streams_ = options_.connections + options_.firehoses;
    connections_.reserve(options_.connections + options_.firehoses);
    for (std::uint32_t i = 0; i < options_.connections; ++i) {
        connections_.emplace_back(i, options_.size, options_.depth);
    }
    for (std::size_t i = 0; i < options_.firehoses; ++i) {
        const auto number = static_cast<std::uint32_t>(options_.connections + i);
        connections_.emplace_back(number, firehose_block, firehose_depth);
    }
    if (options_.rate > 0) interval_ = static_cast<double>(second) / options_.rate;
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
    const std::string doing = "connect 127.0.0.1:" + std::to_string(options_.port);
    peer.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (peer.fd < 0) {
        perf::fail_errno("open socket " + std::to_string(peer.number()), errno,
                         "raise ulimit -n or ask for fewer --connections");
    }
    const int on = 1;
    setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(options_.port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(peer.fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 &&
        errno != EINPROGRESS) {
        perf::fail_errno(doing, errno,
                         errno == EADDRNOTAVAIL
                             ? "closed connections hold all ports; wait for a minute, or let Linux "
                               "reuse them (net.ipv4.tcp_tw_reuse = 2, as it is by default)"
                             : "start the server first, or ask for fewer --connections");
    }
    peer.start_message(perf::monotonic_nanoseconds());
    peer.wants_space = true;
    watch(EPOLL_CTL_ADD, peer, EPOLLIN | EPOLLOUT);
}

void generator::watch(int operation, connection& peer, std::uint32_t interest) {
    epoll_event event{};
    event.events = interest;
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
    if ((ready & ~std::uint32_t{EPOLLOUT}) != 0) {
        int error = 0;
        switch (peer.receive(receive_scratch_, error)) {
            case arrival::bytes:
                take_messages(peer);
                break;
            case arrival::nothing:
                break;
            case arrival::end_of_stream:
                lose(peer, true, 0);
                return;
            case arrival::error:
                lose(peer, false, error);
                return;
        }
    }
    push(peer);
}

void generator::take_messages(connection& peer) {
    std::uint64_t arrived = peer.arrived();
    if (arrived == 0) return;
    if (phase_ == phase::opening && peer.completed() == 0) {
        --opening_;
        ++open_;
    }
    const bool firehose = is_firehose(peer);
    const std::int64_t now = perf::monotonic_nanoseconds();
    total_ += arrived;
    for (; arrived > 0; --arrived) {
        const std::int64_t latency = now - peer.complete_message();
        if (measuring_) {
            if (firehose) {
                window_.firehose_bytes += peer.message_bytes();
            } else {
                window_.latency.add(static_cast<std::uint64_t>(std::max<std::int64_t>(latency, 0)));
            }
        }
        if (options_.brief) continue;
        if (phase_ == phase::flowing && (options_.rate == 0 || firehose)) peer.start_message(now);
    }
    if (phase_ == phase::flowing && options_.brief) reconnect(peer);
    if (phase_ == phase::flowing && options_.rate != 0 && !firehose) start_waiting(peer);
}

void generator::push(connection& peer) {
    const int error = peer.has_unsent() ? peer.send_unsent(send_scratch_) : 0;
    if (error != 0 && error != EAGAIN) {
        lose(peer, false, error);
        return;
    }
    if (const bool blocked = error == EAGAIN; blocked != peer.wants_space) {
        peer.wants_space = blocked;
        watch(EPOLL_CTL_MOD, peer, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
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

void generator::flow_until(std::int64_t deadline) {
    for (std::int64_t now = perf::monotonic_nanoseconds(); now < deadline && alive_ > 0;) {
        std::int64_t wake = deadline;
        if (options_.rate > 0) {
            start_due(now);
            wake = std::min(wake, due_time(next_due_));
        }
        now = turn(wake);
    }
}

void generator::start_flow(std::int64_t now) {
    phase_ = phase::flowing;
    schedule_start_ = now;
    for (connection& each : connections_) {
        if (each.fd < 0 || (options_.rate > 0 && !is_firehose(each))) continue;
        if (options_.brief) {
            reconnect(each);
            continue;
        }
        while (each.has_room())
            each.start_message(now);
        push(each);
    }
}

std::int64_t generator::due_time(std::uint64_t message) const {
    return schedule_start_ + static_cast<std::int64_t>(static_cast<double>(message) * interval_);
}

void generator::start_due(std::int64_t now) {
    for (; due_time(next_due_) <= now; ++next_due_) {
        connection& peer = connections_[next_due_ % options_.connections];
        ++peer.due;
        if (peer.fd < 0) continue;
        start_waiting(peer);
        push(peer);
    }
}

void generator::start_waiting(connection& peer) {
    for (; peer.due > 0 && peer.has_room(); --peer.due) {
        peer.start_message(due_time(peer.paced * options_.connections + peer.number()));
        ++peer.paced;
    }
}

void generator::begin_window() {
    window_ = measurement{};
    measuring_ = true;
    window_.own_cpu = -own_cpu_nanoseconds();
    if (server_clock_) window_.server_cpu = -server_clock_->nanoseconds();
    window_start_ = perf::monotonic_nanoseconds();
}

void generator::end_window() {
    if (server_clock_) *window_.server_cpu += server_clock_->nanoseconds();
    window_.own_cpu += own_cpu_nanoseconds();
    const std::int64_t length = perf::monotonic_nanoseconds() - window_start_;
    window_.seconds = static_cast<double>(length) / static_cast<double>(second);
    window_.messages = window_.latency.count();
    measuring_ = false;
}

std::uint64_t generator::unfinished() const {
    std::uint64_t messages = 0;
    for (const connection& each : connections_) {
        if (each.fd >= 0) messages += each.in_flight();
    }
    return messages;
}

void generator::drain() {
    phase_ = phase::draining;
    std::uint64_t left = unfinished();
    std::int64_t progress = perf::monotonic_nanoseconds();
    while (left > 0) {
        const std::int64_t now = turn(progress + patience);
        if (const std::uint64_t still = unfinished(); still != left) {
            left = still;
            progress = now;
        } else if (now - progress >= patience) {
            perf::fail("finish: " + std::to_string(left) +
                       " messages did not come back within 10 s; the server lost bytes or hangs");
        }
    }
}

outcome generator::run() {
    const std::int64_t start = perf::monotonic_nanoseconds();
    const std::int64_t window_start = start + in_nanoseconds(options_.warmup);
    start_flow(start);
    flow_until(window_start);
    begin_window();
    flow_until(window_start + in_nanoseconds(options_.seconds));
    end_window();
    drain();
    found_.window = window_;
    found_.messages_total = total_;
    return found_;
}

outcome generator::hold() {
    phase_ = phase::draining;  // every message has come back; what arrives now is an end
    if (!options_.json) {
        std::printf("holding %zu connections for %g s\n", alive_, options_.hold);
        std::fflush(stdout);
    }
    flow_until(perf::monotonic_nanoseconds() + in_nanoseconds(options_.hold));
    print_memory(memory_before_);
    found_.messages_total = total_;
    return found_;
}

void generator::print_memory(std::optional<std::int64_t> before) const {
    const auto after = options_.server != 0 ? perf::resident_bytes(options_.server) : std::nullopt;
    if (options_.server != 0 && (!before || !after)) {
        perf::fail("read the server's memory: /proc/" + std::to_string(options_.server) +
                   "/smaps_rollup is not readable; run as the server's user");
    }
    if (options_.json) {
        std::printf("{\"connections\": %zu, \"alive\": %zu", connections_.size(), alive_);
        if (after) {
            std::printf(", \"rss_before_bytes\": %" PRId64 ", \"rss_after_bytes\": %" PRId64,
                        *before, *after);
        }
        std::printf("}\n");
    } else if (after) {
        const double each =
            static_cast<double>(*after - *before) / static_cast<double>(connections_.size());
        std::printf("server memory    %" PRId64 " KiB before, %" PRId64
                    " KiB held: %.0f B per connection\n",
                    *before / 1024, *after / 1024, each);
    }
}

}  // namespace load
