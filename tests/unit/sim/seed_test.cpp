// What run_options::seed decides in a simulation, and that it decides it the same way everywhere.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <coro/coro.hpp>

#include "support/run_trace.hpp"

namespace coro::sim_tests {
namespace {

using namespace std::chrono_literals;

using trace = coro_test::run_trace;

task<> answer(trace& seen, net::tcp_stream peer) {
    std::array<std::byte, 512> buffer{};
    while (const std::size_t got = co_await peer.read_some(mutable_bytes(buffer))) {
        seen.note("server read", got);
        co_await net::write_all(peer, const_bytes(buffer).first(got));
    }
    seen.note("server end", 0);
}

task<> ask(trace& seen, net::endpoint where, std::size_t number, channel<int>& done) {
    net::tcp_stream stream = co_await net::tcp_stream::connect(where);
    seen.note("connected", number);
    const std::string text(300 + 100 * number, 'x');
    for (int round = 0; round < 3; ++round) {
        co_await net::write_all(stream, as_bytes(text));
        std::array<std::byte, 1024> buffer{};
        std::size_t left = text.size();
        while (left != 0) {
            const std::size_t most = std::min(left, buffer.size());
            const std::size_t got = co_await stream.read_some(mutable_bytes(buffer).first(most));
            seen.note("client read", got);
            left -= got;
        }
        co_await sleep_for(10ms);
        seen.note("slept", number);
    }
    co_await done.send(static_cast<int>(number));
}

task<> take_turns(trace& seen, mutex& guard, std::size_t number) {
    for (int round = 0; round < 4; ++round) {
        const auto lock = co_await guard.lock();
        seen.note("locked", number);
        co_await yield();
    }
}

task<> answer_each(trace& seen, net::tcp_listener& listener, std::size_t count) {
    const auto body = [&](task_group& group) -> task<> {
        for (std::size_t i = 0; i < count; ++i) {
            net::tcp_stream peer = co_await listener.accept();
            seen.note("accepted", i);
            group.spawn({.loop = 0}, answer, std::ref(seen), std::move(peer));
        }
    };
    co_await with_task_group(body);
}

/// Three loops, a server, clients on all of them, timers, a lock and a channel. No `serve`: what
/// that does in which turn is its own matter.
task<> everything(trace& seen) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const net::endpoint where = listener.local_endpoint();
    mutex guard;
    channel<int> done(1);
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(answer_each, std::ref(seen), std::ref(listener), std::size_t{6});
        for (std::size_t i = 0; i < 6; ++i) {
            const unsigned loop = static_cast<unsigned>(i % loop_count());
            group.spawn({.loop = loop}, ask, std::ref(seen), where, i, std::ref(done));
            group.spawn({.loop = loop}, take_turns, std::ref(seen), std::ref(guard), i);
        }
        for (std::size_t i = 0; i < 6; ++i) {
            const std::optional<int> who = co_await done.receive();
            seen.note("done", static_cast<std::size_t>(who.value_or(99)));
        }
    };
    co_await with_task_group(body);
}

run_options options_of(std::uint64_t seed) {
    run_options how;
    how.poller = poller_choice::simulation;
    how.loops = 3;
    how.seed = seed;
    how.simulation = {.latency = 1ms, .latency_most = 20ms};
    return how;
}

trace trace_of(std::uint64_t seed) {
    trace seen;
    run(everything(seen), options_of(seed));
    return seen;
}

TEST(seed_test, the_same_seed_gives_the_same_run) {
    for (const std::uint64_t seed : {0u, 1u, 2u, 77u}) {
        const trace first = trace_of(seed);
        EXPECT_GT(first.text.size(), 1000u);
        EXPECT_EQ(trace_of(seed).text, first.text) << "seed " << seed;
    }
}

/// Whoever changes what a seed decides, the order in which the loop works, or the program above,
/// replaces these numbers. No compiler, no level of optimisation and no machine may change them.
TEST(seed_test, every_build_gives_the_same_run) {
    struct known {
        std::uint64_t seed;
        std::uint64_t hash;
    };
    for (const known& each : {known{0, 0xe85debd237690663}, known{1, 0xe85626776e7137fe},
                              known{2, 0xe725ddc75f57f855}, known{77, 0x333ff6a99217a7ae}}) {
        const trace seen = trace_of(each.seed);
        EXPECT_EQ(seen.hash(), each.hash) << "seed " << each.seed << ", hash 0x" << std::hex
                                          << seen.hash() << ", trace:\n" << seen.text;
    }
}

TEST(seed_test, other_seeds_give_other_runs) {
    std::set<std::uint64_t> hashes;
    for (std::uint64_t seed = 0; seed < 20; ++seed) hashes.insert(trace_of(seed).hash());
    EXPECT_EQ(hashes.size(), 20u);
}

// --- one thing at a time

task<> note_turns(std::string& order, char name) {
    for (int i = 0; i < 3; ++i) {
        order += name;
        co_await yield();
    }
}

std::string order_of_tasks(std::uint64_t seed, unsigned loops) {
    std::string order;
    const auto body = [&]() -> task<> {
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned i = 0; i < 4; ++i)
                group.spawn({.loop = i % loop_count()}, note_turns, std::ref(order),
                            static_cast<char>('a' + i));
            co_return;
        };
        co_await with_task_group(in_group);
    };
    run(body(), {.poller = poller_choice::simulation, .loops = loops, .seed = seed});
    return order;
}

TEST(seed_test, without_a_seed_ready_tasks_run_first_come_first_served) {
    EXPECT_EQ(order_of_tasks(0, 1), "abcdabcdabcd");
    EXPECT_EQ(order_of_tasks(0, 1), order_of_tasks(0, 1));
}

TEST(seed_test, a_seed_decides_which_ready_task_is_next) {
    std::set<std::string> orders;
    std::set<char> first;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) {
        const std::string order = order_of_tasks(seed, 1);
        EXPECT_EQ(std::count(order.begin(), order.end(), 'a'), 3) << order;
        EXPECT_EQ(order.size(), 12u) << order;
        orders.insert(order);
        first.insert(order.front());
    }
    EXPECT_GT(orders.size(), 80u);
    EXPECT_EQ(first, (std::set<char>{'a', 'b', 'c', 'd'}));
}

TEST(seed_test, a_seed_decides_which_loop_is_next) {
    std::set<std::string> orders;
    for (std::uint64_t seed = 1; seed <= 100; ++seed) orders.insert(order_of_tasks(seed, 4));
    EXPECT_GT(orders.size(), 50u);
}

TEST(seed_test, a_seed_decides_which_of_equal_timers_is_served_first) {
    std::set<std::string> orders;
    for (std::uint64_t seed = 0; seed <= 100; ++seed) {
        std::string order;
        const auto sleeper = [](std::string& into, char name) -> task<> {
            co_await sleep_for(5ms);
            into += name;
        };
        const auto body = [&]() -> task<> {
            const auto in_group = [&](task_group& group) -> task<> {
                for (char name = 'a'; name < 'd'; ++name)
                    group.spawn(sleeper, std::ref(order), name);
                co_return;
            };
            co_await with_task_group(in_group);
        };
        run(body(), {.poller = poller_choice::simulation, .seed = seed});
        if (seed == 0) {
            EXPECT_EQ(order, "abc");
        }
        orders.insert(order);
    }
    EXPECT_EQ(orders.size(), 6u) << "all there are";
}

struct transfer {
    std::vector<std::size_t> parts;
    duration took{};
};

/// 64 KiB over one connection, as they were read.
transfer transfer_of(std::uint64_t seed, const sim::options& how) {
    transfer seen;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
        net::tcp_stream server = co_await listener.accept();
        const time_point begun = now();
        const auto write = [&]() -> task<> {
            const std::string text(64 * 1024, 'x');
            co_await net::write_all(client, as_bytes(text));
            client.close();
        };
        const auto read = [&]() -> task<> {
            std::vector<std::byte> into(64 * 1024);
            while (const std::size_t got = co_await server.read_some(mutable_bytes(into)))
                seen.parts.push_back(got);
            seen.took = now() - begun;
        };
        co_await when_all(write(), read());
    };
    run(body(), {.poller = poller_choice::simulation, .simulation = how, .seed = seed});
    return seen;
}

std::size_t sum_of(const std::vector<std::size_t>& parts) {
    std::size_t sum = 0;
    for (const std::size_t part : parts) sum += part;
    return sum;
}

TEST(seed_test, a_seed_decides_how_many_bytes_come_at_once) {
    EXPECT_EQ(transfer_of(0, {}).parts, (std::vector<std::size_t>{64 * 1024}));
    std::set<std::vector<std::size_t>> cuts;
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        const transfer seen = transfer_of(seed, {});
        EXPECT_EQ(sum_of(seen.parts), 64u * 1024) << "seed " << seed;
        cuts.insert(seen.parts);
    }
    EXPECT_GT(cuts.size(), 20u);
}

TEST(seed_test, chunk_most_bounds_what_comes_at_once) {
    const transfer plain = transfer_of(0, {.chunk_most = 1000});
    EXPECT_EQ(plain.parts.front(), 1000u);
    EXPECT_EQ(*std::max_element(plain.parts.begin(), plain.parts.end()), 1000u);
    EXPECT_EQ(sum_of(plain.parts), 64u * 1024);
    const transfer seeded = transfer_of(3, {.chunk_most = 1000});
    EXPECT_LE(*std::max_element(seeded.parts.begin(), seeded.parts.end()), 1000u);
    EXPECT_LT(*std::min_element(seeded.parts.begin(), seeded.parts.end()), 1000u);
    EXPECT_EQ(sum_of(seeded.parts), 64u * 1024);
}

/// One byte there and back, with nothing else under way.
duration round_trip(std::uint64_t seed, const sim::options& how) {
    duration took{};
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
        net::tcp_stream server = co_await listener.accept();
        std::array<std::byte, 1> one{};
        const time_point begun = now();
        co_await net::write_all(client, const_bytes(one));
        co_await net::read_exact(server, mutable_bytes(one));
        co_await net::write_all(server, const_bytes(one));
        co_await net::read_exact(client, mutable_bytes(one));
        took = now() - begun;
    };
    run(body(), {.poller = poller_choice::simulation, .simulation = how, .seed = seed});
    return took;
}

TEST(seed_test, a_seed_decides_how_long_bytes_take) {
    EXPECT_EQ(round_trip(0, {}), 0ms);
    EXPECT_EQ(round_trip(0, {.latency = 5ms, .latency_most = 50ms}), 10ms);
    EXPECT_EQ(round_trip(9, {.latency = 5ms}), 10ms) << "one bound leaves nothing to decide";
    std::set<duration> spans;
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        const duration took = round_trip(seed, {.latency = 5ms, .latency_most = 50ms});
        EXPECT_GE(took, 10ms);
        EXPECT_LE(took, 100ms);
        spans.insert(took);
    }
    EXPECT_GT(spans.size(), 40u);
}

/// Latencies that differ never let a later byte, or the end, overtake an earlier one.
TEST(seed_test, what_one_side_sent_stays_in_order) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        std::string heard;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
            net::tcp_stream server = co_await listener.accept();
            const auto write = [&]() -> task<> {
                for (char each = 'a'; each <= 'z'; ++each) {
                    const std::string text(1, each);
                    co_await net::write_all(client, as_bytes(text));
                    co_await sleep_for(1ms);
                }
                client.close();
            };
            const auto read = [&]() -> task<> {
                std::array<std::byte, 64> into{};
                while (const std::size_t got = co_await server.read_some(mutable_bytes(into)))
                    heard += as_text(const_bytes(into).first(got));
            };
            co_await when_all(write(), read());
        };
        run(body(), {.poller = poller_choice::simulation,
                     .simulation = {.latency = 0ms, .latency_most = 40ms},
                     .seed = seed});
        EXPECT_EQ(heard, "abcdefghijklmnopqrstuvwxyz") << "seed " << seed;
    }
}

/// Nor does the reset that answers what is sent to a peer which is gone.
TEST(seed_test, a_reset_arrives_behind_what_was_sent_before_it) {
    for (std::uint64_t seed = 1; seed <= 50; ++seed) {
        std::string heard;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
            net::tcp_stream server = co_await listener.accept();
            const std::string text = "farewell";
            for (const char each : text) {
                const std::string letter(1, each);
                co_await net::write_all(client, as_bytes(letter));
            }
            client.close();
            const std::string late = "late";
            co_await net::write_all(server, as_bytes(late));
            std::array<std::byte, 64> into{};
            while (const std::size_t got = co_await server.read_some(mutable_bytes(into)))
                heard += as_text(const_bytes(into).first(got));
        };
        run(body(), {.poller = poller_choice::simulation,
                     .simulation = {.latency = 0ms, .latency_most = 40ms},
                     .seed = seed});
        EXPECT_EQ(heard, "farewell") << "seed " << seed;
    }
}

TEST(seed_test, so_many_sockets_and_no_more) {
    const auto body = []() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        net::tcp_stream first = co_await net::tcp_stream::connect(listener.local_endpoint());
        std::error_code refused;
        try {
            net::tcp_stream second = co_await net::tcp_stream::connect(listener.local_endpoint());
        } catch (const io_error& error) {
            refused = error.code();
        }
        EXPECT_EQ(refused, std::errc::too_many_files_open);
    };
    run(body(), {.poller = poller_choice::simulation, .simulation = {.sockets = 2}});
}

TEST(seed_test, a_chunk_of_no_byte_is_refused) {
    const auto body = []() -> task<> { co_return; };
    try {
        run(body(), {.poller = poller_choice::simulation, .simulation = {.chunk_most = 0}});
        FAIL() << "nothing was thrown";
    } catch (const io_error& error) {
        EXPECT_EQ(std::string(error.what()),
                  "run cannot begin: options.simulation.chunk_most is 0, so that no byte could "
                  "move: say at least 1: Invalid argument");
    }
}

}  // namespace
}  // namespace coro::sim_tests
