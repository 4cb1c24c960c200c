// A whole service on three simulated loops under a seed: a server that spreads its connections over
// them, clients that move theirs, calls of `blocking`, and a lock that all loops share.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include <coro/coro.hpp>

#include "support/run_trace.hpp"

namespace coro::sim_tests {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t clients = 6;
constexpr std::size_t requests = 3;

struct service_trace : coro_test::run_trace {
    std::set<unsigned> loops_of_handlers;
    std::size_t bytes_served = 0;
    std::size_t in_section = 0;
    std::size_t handlers_ended = 0;
    std::size_t clients_ended = 0;
};

std::size_t twice(std::size_t value) { return 2 * value; }

/// Sends each byte back, after a call on another thread and a turn under the lock.
task<> serve_one(service_trace& seen, mutex& guard, net::tcp_stream peer) {
    seen.loops_of_handlers.insert(loop_index());
    std::array<std::byte, 64> buffer{};
    while (const std::size_t got = co_await peer.read_some(mutable_bytes(buffer))) {
        const std::size_t doubled = co_await blocking(twice, got);
        EXPECT_EQ(doubled, 2 * got);
        {
            const auto lock = co_await guard.lock();
            EXPECT_EQ(seen.in_section++, 0u) << "the lock let two in";
            seen.bytes_served += got;
            seen.note("served", got);
            co_await yield();
            --seen.in_section;
        }
        co_await net::write_all(peer, const_bytes(buffer).first(got));
    }
    seen.note("end of a client", 0);
    ++seen.handlers_ended;
}

/// Of another text for each client and request, so that no byte can stand for another.
std::string request_of(std::size_t number, std::size_t request) {
    std::string text;
    for (std::size_t i = 0; i < 20 + 30 * number; ++i)
        text += static_cast<char>('!' + (i * 7 + number * 31 + request * 17) % 90);
    return text;
}

/// Moves the connection to this loop, sends its requests, and then says nothing more until the
/// server's idle limit ends the connection.
task<> move_ask_and_fall_silent(service_trace& seen, net::tcp_stream stream, std::size_t number) {
    co_await stream.rebind();
    seen.note("moved", number);
    for (std::size_t request = 0; request < requests; ++request) {
        const std::string text = request_of(number, request);
        co_await net::write_all(stream, as_bytes(text));
        std::string back(text.size(), '\0');
        co_await net::read_exact(stream, std::as_writable_bytes(std::span(back)));
        EXPECT_EQ(back, text) << "client " << number << ", request " << request;
        co_await sleep_for(3ms);
        seen.note("answered", number);
    }
    std::array<std::byte, 8> buffer{};
    const std::size_t more = co_await stream.read_some(mutable_bytes(buffer));
    EXPECT_EQ(more, 0u) << "the server sent what nobody asked for";
    seen.note("closed", number);
    ++seen.clients_ended;
}

task<> service(service_trace& seen) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    mutex guard;
    const auto handler = [&](net::tcp_stream peer) -> task<> {
        co_await serve_one(seen, guard, std::move(peer));
    };
    const auto ask = [&](task_group& group) -> task<> {
        for (std::size_t i = 0; i < clients; ++i) {
            net::tcp_stream made = co_await net::tcp_stream::connect(listener.local_endpoint());
            const unsigned loop = static_cast<unsigned>(i % loop_count());
            group.spawn({.loop = loop}, move_ask_and_fall_silent, std::ref(seen), std::move(made),
                        i);
        }
    };
    const auto all = [&](task_group& group) -> task<> {
        serve_options how;
        how.limits.idle = 5s;
        group.spawn(serve(listener, std::cref(handler), how));
        co_await with_task_group(ask);
        group.request_stop();
    };
    co_await with_task_group(all);
}

service_trace service_of(std::uint64_t seed) {
    run_options how;
    how.poller = poller_choice::simulation;
    how.loops = 3;
    how.seed = seed;
    how.simulation = {.latency = 1ms, .latency_most = 20ms};
    service_trace seen;
    run(service(seen), how);
    return seen;
}

std::size_t bytes_of_all_requests() {
    std::size_t sum = 0;
    for (std::size_t i = 0; i < clients; ++i)
        for (std::size_t request = 0; request < requests; ++request)
            sum += request_of(i, request).size();
    return sum;
}

TEST(seeded_service_test, a_server_on_three_loops_serves_every_byte_and_is_the_same_run_twice) {
    std::set<std::uint64_t> runs;
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        const service_trace first = service_of(seed);
        EXPECT_EQ(first.bytes_served, bytes_of_all_requests());
        EXPECT_EQ(first.handlers_ended, clients);
        EXPECT_EQ(first.clients_ended, clients);
        EXPECT_EQ(first.loops_of_handlers, (std::set<unsigned>{0, 1, 2}));
        EXPECT_EQ(service_of(seed).hash(), first.hash());
        runs.insert(first.hash());
    }
    EXPECT_EQ(runs.size(), 20u) << "each seed gives a run of its own";
}

}  // namespace
}  // namespace coro::sim_tests
