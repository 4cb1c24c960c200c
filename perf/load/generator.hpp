// The load generator: one epoll loop that opens, loads, measures, drains and closes connections.
//
//  1. Opening is paced: a connection counts as open when its first message has come back, and only
//     `most_opening` may be less than open. On loopback connect() succeeds before the server
//     accepts, so counting connects would let the backlog overflow.
//  2. Closed loop: a message that comes back lets the connection send its next one.
//     Paced (--rate): message i is due at start + i/R on connection i modulo N, and its latency
//     counts from then, so that a server that stalls cannot hide the messages it delayed.
//     Short (--short): the same, but each message has a connection of its own, whose latency counts
//     from connect(); this side closes first, as clients do.
//  3. After the window nothing new starts and everything in flight must come back.
#pragma once

#include "common/cpu_time.hpp"
#include "load/connection.hpp"
#include "load/options.hpp"
#include "load/report.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include <sys/epoll.h>

namespace load {

class generator {
public:
    explicit generator(const load_options& options);
    ~generator();
    generator(const generator&) = delete;
    generator& operator=(const generator&) = delete;

    void open_all();
    outcome run();
    /// Idles with all connections open and reports the server's memory.
    outcome hold();

private:
    enum class phase { opening, flowing, draining };

    void open_one(connection& peer);
    void connect_one(connection& peer);
    void reconnect(connection& peer);
    void watch(int operation, connection& peer, std::uint32_t interest);

    /// Serves what is ready, waiting until `deadline` at most; returns the time of the turn.
    std::int64_t turn(std::int64_t deadline);
    void serve(connection& peer, std::uint32_t ready);
    void take_messages(connection& peer);
    void push(connection& peer);
    void lose(connection& peer, bool eof, int error);

    void flow_until(std::int64_t deadline);
    void start_flow(std::int64_t now);
    void start_due(std::int64_t now);
    void start_waiting(connection& peer);
    std::int64_t due_time(std::uint64_t message) const;
    void begin_window();
    void end_window();
    void drain();
    std::uint64_t unfinished() const;
    bool is_firehose(const connection& peer) const { return peer.number() >= options_.connections; }
    void print_memory(std::optional<std::int64_t> before) const;

    load_options options_;
    int epoll_;
    std::vector<connection> connections_;  // firehoses last
    std::vector<std::byte> send_scratch_;
    std::vector<std::byte> receive_scratch_;
    std::array<epoll_event, 512> events_{};

    phase phase_ = phase::opening;
    std::size_t opening_ = 0;
    std::size_t open_ = 0;
    std::size_t alive_ = 0;
    std::uint64_t total_ = 0;
    std::uint64_t streams_ = 0;  // begun so far, in whatever connection

    std::optional<perf::process_clock> server_clock_;
    std::optional<std::int64_t> memory_before_;
    measurement window_;
    bool measuring_ = false;
    std::int64_t window_start_ = 0;

    double interval_ = 0;  // nanoseconds between paced messages
    std::int64_t schedule_start_ = 0;
    std::uint64_t next_due_ = 0;  // the next paced message, over all connections

    outcome found_;
};

}  // namespace load
