// The load generator: one epoll loop that opens, loads, measures, drains and closes connections.
//
//  1. Opening is paced: a connection counts as open when its first message has come back, and only
//     `most_opening` may be less than open. On loopback connect() succeeds before the server
//     accepts, so counting connects would let the backlog overflow.
//  2. Closed loop: a message that comes back lets the connection send its next one.
//     Open loop (--rate): message i is due at start + i/R on polite connection i modulo their
//     number, and its latency counts from then. So a server that stalls cannot hide the messages
//     that it delayed, and of those that were due in the window all count, also when they come back
//     after it.
//     Short (--short): a closed loop where each message has a connection of its own, whose latency
//     counts from connect(); this side closes first, as clients do.
//  3. After the window nothing new starts and everything in flight must come back.
#pragma once

#include "common/cpu_time.hpp"
#include "common/memory.hpp"
#include "load/connection.hpp"
#include "load/options.hpp"
#include "load/report.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include <netinet/in.h>
#include <sys/epoll.h>

namespace load {

class generator {
public:
    explicit generator(const load_options& options);
    ~generator();
    generator(const generator&) = delete;
    generator& operator=(const generator&) = delete;

    void open_all();
    /// One window; after it the connections are open and silent.
    outcome run();
    /// The next window: messages per second (0: a closed loop) and its length.
    void change(double rate, double seconds);
    /// Idles with all connections open and reports the server's memory.
    idle_memory hold();

private:
    enum class phase { opening, flowing, draining };

    void add(std::size_t message_bytes, std::size_t depth, part plays);
    void cast_parts();
    void check_descriptors() const;

    void open_one(connection& peer);
    void connect_one(connection& peer);
    void bind_source(const connection& peer) const;
    void reconnect(connection& peer);
    void watch(int operation, connection& peer);

    /// Serves what is ready, waiting until `deadline` at most; returns the time of the turn.
    std::int64_t turn(std::int64_t deadline);
    void serve(connection& peer, std::uint32_t ready);
    bool take(connection& peer, std::span<std::byte> scratch);
    void take_messages(connection& peer);
    void count(connection& peer, std::int64_t started, std::int64_t now);
    void push(connection& peer);
    void lose(connection& peer, bool eof, int error);

    // --- windows (windows.cpp)
    void flow_until(std::int64_t deadline);
    void start_flow(std::int64_t now);
    bool is_paced(const connection& peer) const {
        return options_.rate > 0 && peer.plays == part::polite;
    }
    void start_due(std::int64_t now);
    void start_waiting(connection& peer);
    std::int64_t due_time(std::uint64_t message) const;
    void set_deaf(connection& peer, bool deaf);
    void trickle(std::int64_t now);
    void begin_window();
    void end_window(std::int64_t started);
    fairness fairness_of_window() const;
    void drain();
    std::uint64_t unfinished() const;

    load_options options_;
    sockaddr_in server_{};
    int epoll_;
    std::vector<connection> connections_;  // firehoses last
    std::vector<std::uint32_t> polite_;    // their numbers
    std::vector<std::uint32_t> slow_;
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
    std::optional<perf::process_memory> memory_before_;
    std::optional<perf::kernel_memory> kernel_before_;
    measurement window_;
    bool measuring_ = false;
    std::int64_t window_start_ = 0;
    std::int64_t window_end_ = 0;

    std::int64_t schedule_start_ = 0;
    std::uint64_t next_due_ = 0;  // the next paced message, over all polite connections
    std::int64_t next_trickle_ = 0;

    outcome found_;
};

}  // namespace load
