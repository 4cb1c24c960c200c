// serve() under pressure, on real sockets: no descriptors left; one connection that never stops.
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class serve_pressure_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, serve_pressure_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

// --- no descriptors left: the server is a child process with a small limit, the clients are here

/// Greets, and holds the connection until the client leaves.
task<> greet(net::tcp_stream peer) {
    co_await say(peer, "hi");
    co_await read_to_end(peer);
}

/// Writes the number of the loop's turns in the end.
class turn_counter {
public:
    explicit turn_counter(int to) noexcept : to_(to) {}
    turn_counter(const turn_counter&) = delete;
    turn_counter& operator=(const turn_counter&) = delete;
    ~turn_counter() {
        const std::uint64_t turns = current_loop_stats().turns;
        if (::write(to_, &turns, sizeof turns) != sizeof turns) std::abort();
    }

private:
    int to_;
};

task<> serve_with_few_descriptors(int port_to, server_limits limits) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const std::uint16_t port = listener.local_endpoint().port();
    if (::write(port_to, &port, sizeof port) != sizeof port) std::abort();
    const turn_counter at_the_end(port_to);  // the signal cancels what stands here
    co_await serve(listener, greet, {.limits = limits});
}

[[noreturn]] void be_the_server(poller_choice world, int port_to, server_limits limits) {
    const rlimit small{64, 64};
    if (::setrlimit(RLIMIT_NOFILE, &small) != 0) std::abort();
    set_report_hook([](const report_event&, void*) noexcept {}, nullptr);
    run_options options;
    options.poller = world;
    options.strict = insists(world);
    ::_exit(run_main(serve_with_few_descriptors(port_to, limits), options));
}

class child_server {
public:
    child_server(poller_choice world, server_limits limits) {
        std::array<int, 2> ends{};
        if (::pipe(ends.data()) != 0) std::abort();
        pid_ = ::fork();
        if (pid_ == 0) be_the_server(world, ends[1], limits);
        ::close(ends[1]);
        from_ = ends[0];
        EXPECT_EQ(::read(from_, &port_, sizeof port_), static_cast<ssize_t>(sizeof port_));
    }
    child_server(const child_server&) = delete;
    child_server& operator=(const child_server&) = delete;
    ~child_server() {
        if (pid_ > 0) static_cast<void>(end(SIGKILL));
        ::close(from_);
    }

    [[nodiscard]] int connect_to() const {
        const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const socket_address where = ipv4_address(port_);
        const auto* const address = reinterpret_cast<const sockaddr*>(where.bytes.data());
        EXPECT_EQ(::connect(made, address, where.size), 0);
        return made;
    }

    /// Ends it; answers its exit status.
    int end(int signal) {
        const pid_t child = std::exchange(pid_, -1);
        int status = 0;
        ::kill(child, signal);
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        return status;
    }

    /// How many turns its loop has made in its life. Requires: it has ended in an orderly way.
    [[nodiscard]] std::uint64_t turns() const {
        std::uint64_t made = 0;
        EXPECT_EQ(::read(from_, &made, sizeof made), static_cast<ssize_t>(sizeof made));
        return made;
    }

private:
    pid_t pid_ = -1;
    int from_ = -1;
    std::uint16_t port_ = 0;
};

enum class fate { greeted, closed, hangs };

/// What becomes of a client: a greeting, or an end; a minute is the limit against hanging.
fate fate_of(int client) {
    pollfd wanted{client, POLLIN, 0};
    if (::poll(&wanted, 1, 60'000) != 1) return fate::hangs;
    std::array<char, 8> into{};
    return ::recv(client, into.data(), into.size(), 0) > 0 ? fate::greeted : fate::closed;
}

/// Clients of a server that has run out of descriptors: those it holds, and how many it has turned
/// away one after the other.
struct rush {
    std::vector<int> held;
    int turned_away = 0;
};

rush fill(const child_server& server, int count) {
    std::vector<int> clients;
    for (int i = 0; i < count; ++i) clients.push_back(server.connect_to());
    rush made;
    for (const int each : clients) {
        const fate seen = fate_of(each);
        EXPECT_NE(seen, fate::hangs);
        if (seen == fate::greeted) {
            made.held.push_back(each);
        } else {
            ++made.turned_away;
            ::close(each);
        }
    }
    return made;
}

TEST_P(serve_pressure_test, without_descriptors_clients_get_a_close_and_service_comes_back) {
    using clock = std::chrono::steady_clock;
    child_server server(GetParam(), {.evictions = 0});
    const clock::time_point begun = clock::now();
    const rush first = fill(server, 100);
    EXPECT_GT(first.held.size(), 20u);
    EXPECT_GT(first.turned_away, 20);
    // One client each 50 ms gets its close.
    EXPECT_GE(clock::now() - begun, (first.turned_away - 1) * 50ms) << "without the pauses";

    // Descriptors come back while clients wait in the queue: they are served, and it takes no new
    // connection for that. accept_errors_test asserts how long the pause before that is.
    std::vector<int> waiting;
    for (int i = 0; i < 20; ++i) waiting.push_back(server.connect_to());
    EXPECT_EQ(fate_of(waiting.front()), fate::closed);
    for (const int each : first.held) ::close(each);
    int greeted = 0;
    for (const int each : waiting) {
        const fate seen = fate_of(each);
        EXPECT_NE(seen, fate::hangs);
        if (seen == fate::greeted) ++greeted;
        ::close(each);
    }
    // Where this test was held up, all of those were turned away before it closed the others.
    std::size_t anew = 0;
    for (; greeted == 0 && anew < 1000; ++anew) {
        const int one = server.connect_to();
        if (fate_of(one) == fate::greeted) ++greeted;
        ::close(one);
    }
    EXPECT_GT(greeted, 0) << "service did not come back by itself";

    const int status = server.end(SIGTERM);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
    // A loop that spun in the pauses would have made thousands of turns in each.
    const auto clients =
        static_cast<std::uint64_t>(first.turned_away) + first.held.size() + 20 + anew;
    const std::uint64_t turns = server.turns();
    EXPECT_GT(turns, 0u);
    EXPECT_LT(turns, 10 * clients) << "it spins while descriptors are missing";
    std::printf("%s: %d turned away, %llu turns\n", world_name(GetParam()).c_str(),
                first.turned_away, static_cast<unsigned long long>(turns));
}

TEST_P(serve_pressure_test, without_descriptors_those_silent_for_longest_make_room) {
    // The limit of silence is far away; an eighth of it is the least silence that gives way.
    child_server server(GetParam(), {.idle = 16s});
    std::vector<int> clients;
    for (int i = 0; i < 200; ++i) {
        clients.push_back(server.connect_to());
        // One that comes before the others have been silent for so long may be turned away.
        for (fate seen = fate_of(clients.back()); seen != fate::greeted;
             seen = fate_of(clients.back())) {
            ASSERT_EQ(seen, fate::closed);
            ::close(clients.back());
            clients.back() = server.connect_to();
        }
    }
    // 200 have been greeted with 64 descriptors, so some have given way: the oldest first.
    EXPECT_EQ(fate_of(clients.front()), fate::closed);
    for (const int each : clients) ::close(each);
    const int status = server.end(SIGTERM);
    EXPECT_TRUE(WIFEXITED(status));
}

// --- stop with clients in the kernel's queue

/// Connects without giving way to the loop: the server cannot have accepted it yet.
int connect_at_once(net::endpoint to) {
    const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const socket_address where = to_socket_address(to);
    const auto* const address = reinterpret_cast<const sockaddr*>(where.bytes.data());
    EXPECT_EQ(::connect(made, address, where.size), 0);
    ::shutdown(made, SHUT_WR);
    return made;
}

TEST_P(serve_pressure_test, on_stop_those_in_the_kernels_queue_are_served) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        std::vector<int> clients;
        const auto serving = [&](task_group& group) -> task<> {
            group.spawn([](net::tcp_listener& on) -> task<> { co_await serve(on, greet); },
                        std::ref(listener));
            co_await sleep_for(2ms);
            for (int i = 0; i < 20; ++i) clients.push_back(connect_at_once(where));
            group.request_stop();
        };
        co_await with_task_group(serving);
        for (const int each : clients) {
            std::array<char, 8> into{};
            EXPECT_EQ(::recv(each, into.data(), into.size(), 0), 2) << "turned away";
            ::close(each);
        }
    };
    in_world(body);
}

// --- one firehose and many who ping

struct crowd {
    explicit crowd(net::endpoint to) : where(to) {}
    net::endpoint where;
    std::size_t pinging = 0;
    std::size_t firehose_bytes = 0;
    std::vector<duration> round_trips;
};

/// Sends without end what it is asked for; echoes otherwise.
task<> pour_or_echo(net::tcp_stream peer) {
    std::array<std::byte, 64> buffer{};
    const std::vector<std::byte> water = pattern_bytes(0, 65536);
    while (const std::size_t n = co_await peer.read_some(mutable_bytes(buffer))) {
        if (buffer[0] == std::byte{'F'}) {
            for (;;) co_await net::write_all(peer, const_bytes(water));
        }
        co_await net::write_all(peer, const_bytes(buffer).first(n));
    }
}

task<> drink(crowd& all) {
    net::tcp_stream stream = co_await net::tcp_stream::connect(all.where);
    co_await say(stream, "F");
    std::vector<std::byte> into(1 << 16);
    while (all.pinging > 0) all.firehose_bytes += co_await stream.read_some(mutable_bytes(into));
}

constexpr duration ping_interval = 500ms;

/// `phase`: when in the interval, so that the pings spread. What counts is measured when all are
/// connected.
task<> ping_often(crowd& all, int times, duration phase) {
    net::tcp_stream stream = co_await net::tcp_stream::connect(all.where);
    co_await sleep_for(ping_interval + phase);
    for (int i = 0; i < times; ++i) {
        const time_point begun = now();
        co_await say(stream, "ping");
        co_await hear(stream, "ping");
        all.round_trips.push_back(now() - begun);
        co_await sleep_for(ping_interval);
    }
    --all.pinging;
}

TEST_P(serve_pressure_test, one_firehose_does_not_starve_those_who_ping) {
    const std::size_t count = sanitized ? 100 : 1000;
    constexpr int times = 5;
    const report_collector quiet;  // the firehose ends by a broken pipe
    std::size_t poured = 0;
    std::vector<duration> round_trips;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        crowd all(listener.local_endpoint());
        all.pinging = count;
        const auto everybody = [&](task_group& group) -> task<> {
            group.spawn([](net::tcp_listener& on) -> task<> { co_await serve(on, pour_or_echo); },
                        std::ref(listener));
            const auto clients = [&](task_group& inner) -> task<> {
                inner.spawn(drink, std::ref(all));
                for (std::size_t i = 0; i < count; ++i)
                    inner.spawn(ping_often, std::ref(all), times, ping_interval * i / count);
                co_return;
            };
            co_await with_task_group(clients);
            group.cancel();
        };
        co_await with_task_group(everybody);
        poured = all.firehose_bytes;
        round_trips = std::move(all.round_trips);
    };
    in_world(body);
    ASSERT_EQ(round_trips.size(), count * times);
    EXPECT_GT(poured, 0u);
    std::sort(round_trips.begin(), round_trips.end());
    const duration p50 = round_trips[round_trips.size() / 2];
    const duration p99 = round_trips[round_trips.size() * 99 / 100];
    using milliseconds = std::chrono::duration<double, std::milli>;
    std::printf("%s: %zu connections pinging, firehose %zu MB: p50 %.2f ms, p99 %.2f ms\n",
                world_name(GetParam()).c_str(), count, poured >> 20, milliseconds(p50).count(),
                milliseconds(p99).count());
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
