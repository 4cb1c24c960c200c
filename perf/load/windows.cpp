// What the load generator does in a window, and after it; see generator.hpp for the rules.
#include "load/generator.hpp"

#include "common/failure.hpp"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace load {

namespace {

constexpr std::int64_t second = 1'000'000'000;
constexpr std::int64_t patience = 10 * second;  // without progress, while draining
constexpr std::int64_t trickle_every = second / 10;

std::int64_t own_cpu_nanoseconds() {
    timespec at{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return perf::to_nanoseconds(at);
}

std::int64_t in_nanoseconds(double seconds) {
    return static_cast<std::int64_t>(seconds * static_cast<double>(second));
}

}  // namespace

void generator::flow_until(std::int64_t deadline) {
    for (std::int64_t now = perf::monotonic_nanoseconds(); now < deadline && alive_ > 0;) {
        std::int64_t wake = deadline;
        if (options_.rate > 0 && phase_ == phase::flowing) {
            start_due(now);
            wake = std::min(wake, due_time(next_due_));
        }
        if (!slow_.empty()) {
            trickle(now);
            wake = std::min(wake, next_trickle_);
        }
        now = turn(wake);
    }
}

void generator::start_flow(std::int64_t now) {
    phase_ = phase::flowing;
    schedule_start_ = now;
    next_due_ = 0;
    next_trickle_ = now;
    for (connection& each : connections_) {
        each.due = each.paced = 0;
        if (each.fd < 0 || each.plays == part::idle || is_paced(each)) continue;
        if (each.plays == part::slow) set_deaf(each, true);
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
    const double interval = static_cast<double>(second) / options_.rate;
    return schedule_start_ + static_cast<std::int64_t>(static_cast<double>(message) * interval);
}

/// Starts what is due up to `now`, without it.
void generator::start_due(std::int64_t now) {
    for (; due_time(next_due_) < now; ++next_due_) {
        connection& peer = connections_[polite_[next_due_ % polite_.size()]];
        if (peer.fd < 0) continue;
        ++peer.due;
        start_waiting(peer);
        push(peer);
    }
}

void generator::start_waiting(connection& peer) {
    for (; peer.due > 0 && peer.has_room(); --peer.due) {
        peer.start_message(due_time(peer.paced * polite_.size() + peer.turn));
        ++peer.paced;
    }
}

void generator::set_deaf(connection& peer, bool deaf) {
    if (peer.deaf == deaf) return;
    peer.deaf = deaf;
    watch(EPOLL_CTL_MOD, peer);
}

/// Each slow connection reads its share of a tenth of a second. What a late tick missed is not read
/// later: a reader that catches up is not slow.
void generator::trickle(std::int64_t now) {
    if (now < next_trickle_) return;
    next_trickle_ = now + trickle_every;
    const std::span<std::byte> share(receive_scratch_.data(),
                                     std::min(receive_scratch_.size(), options_.trickle / 10));
    for (const std::uint32_t number : slow_) {
        connection& peer = connections_[number];
        if (peer.fd < 0) continue;
        const std::uint64_t before = peer.received();
        if (!take(peer, share)) continue;
        if (measuring_) window_.slow_bytes += peer.received() - before;
        push(peer);
    }
}

void generator::change(double rate, double seconds) {
    options_.rate = rate;
    options_.seconds = seconds;
}

void generator::begin_window() {
    for (const std::uint32_t number : polite_)
        connections_[number].counted = 0;
    window_.own_cpu = -own_cpu_nanoseconds();
    if (server_clock_) window_.server_cpu = -server_clock_->nanoseconds();
    measuring_ = true;
}

void generator::end_window(std::int64_t started) {
    if (server_clock_) *window_.server_cpu += server_clock_->nanoseconds();
    window_.own_cpu += own_cpu_nanoseconds();
    const std::int64_t length = perf::monotonic_nanoseconds() - started;
    window_.seconds = static_cast<double>(length) / static_cast<double>(second);
    measuring_ = false;
    for (const std::uint32_t number : slow_)
        window_.held_back += connections_[number].fd >= 0 && connections_[number].wants_space;
    window_.among = fairness_of_window();
}

fairness generator::fairness_of_window() const {
    fairness found{.least = ~std::uint64_t{0}};
    double sum = 0;
    double squares = 0;
    for (const std::uint32_t number : polite_) {
        const std::uint64_t counted = connections_[number].counted;
        found.least = std::min(found.least, counted);
        found.most = std::max(found.most, counted);
        sum += static_cast<double>(counted);
        squares += static_cast<double>(counted) * static_cast<double>(counted);
    }
    if (squares > 0) found.jain = sum * sum / (static_cast<double>(polite_.size()) * squares);
    return found;
}

std::uint64_t generator::unfinished() const {
    std::uint64_t messages = 0;
    for (const connection& each : connections_) {
        if (each.fd >= 0) messages += each.in_flight() + each.due;
    }
    return messages;
}

void generator::drain() {
    phase_ = phase::draining;
    for (const std::uint32_t number : slow_) {
        if (connections_[number].fd >= 0) set_deaf(connections_[number], false);
    }
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
    window_ = measurement{};
    window_start_ = start + in_nanoseconds(options_.warmup);
    window_end_ = window_start_ + in_nanoseconds(options_.seconds);
    start_flow(start);
    flow_until(window_start_);
    const std::int64_t started = perf::monotonic_nanoseconds();
    begin_window();
    flow_until(window_end_);
    end_window(started);
    if (options_.rate > 0) start_due(window_end_);  // what the last turn was too late for
    drain();
    found_.window = window_;
    found_.messages_total = total_;
    return found_;
}

idle_memory generator::hold() {
    phase_ = phase::draining;  // every message has come back; what arrives now is an end
    if (!options_.json) {
        std::printf("holding %zu connections for %g s\n", alive_, options_.hold);
        std::fflush(stdout);
    }
    flow_until(perf::monotonic_nanoseconds() + in_nanoseconds(options_.hold));
    idle_memory memory;
    static_cast<ends&>(memory) = found_;
    memory.connections = connections_.size();
    memory.alive = alive_;
    if (options_.server != 0) {
        const auto after = perf::memory_of(options_.server);
        if (!memory_before_ || !after) {
            perf::fail("read the server's memory: /proc/" + std::to_string(options_.server) +
                       "/smaps_rollup is not readable; run as the server's user");
        }
        memory.server_before = *memory_before_;
        memory.server_after = after;
    }
    const auto kernel = perf::memory_of_kernel();
    if (kernel_before_ && kernel) {
        memory.kernel_before = *kernel_before_;
        memory.kernel_after = kernel;
    }
    return memory;
}

}  // namespace load
