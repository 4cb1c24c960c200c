// The limits of serve in virtual time: whom each ends, to the tick, and what is told of it.
#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <coro/net/exact.hpp>
#include <coro/net/guardian.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/service/server.hpp>

#include "unit/core/core_fixture.hpp"
#include "unit/service/server_fixture.hpp"

namespace coro_test {
namespace {

using coro::duration;
using coro::task;
using coro::time_point;
using coro::net::end_cause;
namespace net = coro::net;

using server_tests::beside;
using server_tests::none;
using server_tests::read_until_end;

class guardian_limits_test : public core_test {};

/// Sends a byte after each `pause`, until `total` has passed or the connection ends.
task<> drip(net::tcp_stream& to, duration pause, duration total, std::size_t bytes = 1) {
    const std::vector<std::byte> some(bytes);
    const time_point end = coro::now() + total;
    while (coro::now() + pause <= end) {
        co_await coro::sleep_for(pause);
        co_await net::write_all(to, some);
    }
}

// --- spans

/// How long a connection lasts whose client says nothing, or a byte each `pause`.
duration lifetime(coro::server_limits limits, duration pause = none) {
    duration lasted = none;
    const auto handler = [&](net::tcp_stream peer) -> task<> {
        const time_point start = coro::now();
        co_await read_until_end(peer);
        lasted = coro::now() - start;
    };
    const auto client = [&](net::endpoint where) -> task<> {
        auto stream = co_await net::tcp_stream::connect(where);
        if (pause != none) {
            try {
                co_await drip(stream, pause, 2h);
            } catch (const coro::io_error&) {  // it was ended
            }
        }
        co_await coro::sleep_for(2h);
    };
    simulate(beside(handler, {.limits = limits}, client));
    return lasted;
}

TEST_F(guardian_limits_test, a_client_that_never_speaks_ends_at_the_tick_of_the_first_limit) {
    for (const duration first : {0s, 1s, 7s, 10s, 60s, 100s})
        for (const duration total :
             {duration(3s), duration(10s), duration(11s), duration(1h), none})
            for (const duration idle : {duration(8s), duration(60s), duration(7200s), none}) {
                const duration exact = std::min(first, total);
                const duration lasted =
                    lifetime({.first_byte = first, .idle = idle, .total = total});
                SCOPED_TRACE(std::to_string(first / 1s) + " " + std::to_string(total / 1s) + " " +
                             std::to_string(idle / 1s));
                if (exact <= idle) {
                    EXPECT_GE(lasted, exact);
                    EXPECT_LE(lasted, exact + 1us);
                } else {
                    EXPECT_GE(lasted, std::min(exact, idle));
                    EXPECT_LE(lasted, std::min(exact, idle + idle / 8) + 1us);
                }
            }
}

TEST_F(guardian_limits_test, who_speaks_all_the_time_ends_at_the_tick_of_the_total) {
    for (const duration total : {duration(3s), duration(10s), duration(61s), duration(1h)})
        for (const duration idle : {duration(8s), duration(60s), none})
            for (const duration first : {duration(2s), duration(10s), none}) {
                const duration lasted =
                    lifetime({.first_byte = first, .idle = idle, .total = total}, 700ms);
                EXPECT_GE(lasted, total);
                EXPECT_LE(lasted, total + 1us)
                    << total / 1s << " " << idle / 1s << " " << first / 1s;
            }
}

TEST_F(guardian_limits_test, who_speaks_in_time_is_not_ended_for_the_first_byte) {
    // 9.9 s of 10, between two looks at silence; then nothing.
    const duration lasted = lifetime({.first_byte = 10s, .idle = 60s}, 9900ms);
    EXPECT_GE(lasted, 2h) << "a byte each 9.9 s";
}

TEST_F(guardian_limits_test, a_hundred_thousand_end_at_the_same_tick) {
    const std::size_t count = static_cast<std::size_t>(scaled(100'000, 100));
    std::size_t before = 0;
    std::size_t after = 0;
    const auto body = [&]() -> task<> {
        std::vector<std::pair<net::memory_stream, net::memory_stream>> streams;
        std::vector<net::guardian::watch> watches;
        streams.reserve(count);
        watches.reserve(count);
        net::guardian guard(net::guardian_limits{});
        for (std::size_t i = 0; i < count; ++i) {
            streams.push_back(net::memory_stream::pair());
            watches.push_back(guard.watch_over(streams.back().first));
        }
        co_await coro::sleep_for(10s - 1ms);
        before = guard.ended_by(end_cause::first_byte);
        co_await coro::sleep_for(2ms);
        after = guard.ended_by(end_cause::first_byte);
        EXPECT_TRUE(std::ranges::all_of(watches, [](const auto& each) {
            return each.cause() == end_cause::first_byte;
        }));
        watches.clear();
    };
    simulate(body());
    EXPECT_EQ(before, 0u);
    EXPECT_EQ(after, count);
}

// --- parts of a conversation

/// A handler that says which part of the conversation each read belongs to.
class two_parts {
public:
    bool in_header = true;
    duration lasted = none;
    end_cause cause = end_cause::none;

    task<> operator()(net::tcp_stream peer, net::guarded guard) {
        const time_point start = coro::now();
        if (in_header) {
            const auto header = guard.header();
            co_await read_until_end(peer);
        } else {
            const auto transfer = guard.transfer();
            co_await read_until_end(peer);
        }
        lasted = coro::now() - start;
        cause = guard.cause();
    }
};

duration part_of_a_drip(two_parts& handler, duration pause, std::size_t bytes) {
    const auto client = [&](net::endpoint where) -> task<> {
        auto stream = co_await net::tcp_stream::connect(where);
        try {
            co_await drip(stream, pause, 10min, bytes);
        } catch (const coro::io_error&) {  // it was ended
        }
    };
    simulate(beside(handler, {}, client));
    return handler.lasted;
}

TEST_F(guardian_limits_test, a_header_that_drips_ends_at_its_limit) {
    two_parts handler;
    EXPECT_EQ(part_of_a_drip(handler, 500ms, 1) / 1ms, 20'000);
    EXPECT_EQ(handler.cause, end_cause::header);
}

TEST_F(guardian_limits_test, a_transfer_that_drips_ends_and_a_slow_steady_one_lives) {
    two_parts dripping;
    dripping.in_header = false;
    EXPECT_EQ(part_of_a_drip(dripping, 1s, 1) / 1ms, 10'000);
    EXPECT_EQ(dripping.cause, end_cause::rate);
    two_parts steady;
    steady.in_header = false;
    EXPECT_GE(part_of_a_drip(steady, 1s, 300) / 1s, 599);
    EXPECT_EQ(steady.cause, end_cause::none);
}

TEST_F(guardian_limits_test, a_transfer_that_pauses_ends_one_window_after_it_was_fast) {
    // 1 MiB at once, and then nothing: no credit.
    two_parts handler;
    handler.in_header = false;
    const auto client = [&](net::endpoint where) -> task<> {
        auto stream = co_await net::tcp_stream::connect(where);
        const std::vector<std::byte> much(1 << 20);
        co_await net::write_all(stream, much);
        co_await coro::sleep_for(5min);
    };
    simulate(beside(handler, {}, client));
    EXPECT_EQ(handler.cause, end_cause::rate);
    EXPECT_LE(handler.lasted, 20s);
}

TEST_F(guardian_limits_test, a_part_that_is_over_counts_no_more) {
    end_cause cause = end_cause::none;
    bool asked = false;
    const auto handler = [&](net::tcp_stream peer, net::guarded given) -> task<> {
        std::array<std::byte, 1> byte{};
        net::guarded guard = std::move(given);
        for (int i = 0; i < 3; ++i) {
            const auto header = guard.header();
            const auto transfer = guard.transfer();
            EXPECT_EQ(co_await peer.read_some(byte), 1u);
        }
        co_await coro::sleep_for(50s);  // in no part
        asked = co_await peer.read_some(byte) == 1;
        cause = guard.cause();
    };
    const auto client = [&](net::endpoint where) -> task<> {
        auto stream = co_await net::tcp_stream::connect(where);
        co_await drip(stream, 8s, 24s);
        co_await coro::sleep_for(27s);
        co_await net::write_all(stream, coro::as_bytes("x"));
        co_await coro::sleep_for(30s);
    };
    simulate(beside(handler, {}, client));
    EXPECT_TRUE(asked);
    EXPECT_EQ(cause, end_cause::none);
}

TEST_F(guardian_limits_test, a_transfer_without_any_grace_ends_at_once) {
    for (const duration grace : {duration(0), duration(-1s)}) {
        const auto body = [&]() -> task<> {
            auto ends = net::memory_stream::pair();
            net::guardian guard(net::guardian_limits{.rate_grace = grace});
            net::guardian::watch watch = guard.watch_over(ends.first);
            net::guarded words(watch);
            const auto transfer = words.transfer();
            co_await coro::sleep_for(1ms);
            EXPECT_EQ(words.cause(), end_cause::rate);
        };
        simulate(body());
    }
}

TEST_F(guardian_limits_test, the_least_rate_asks_for_a_byte) {
    two_parts handler;
    handler.in_header = false;
    const auto client = [&](net::endpoint where) -> task<> {
        auto stream = co_await net::tcp_stream::connect(where);
        co_await net::write_all(stream, coro::as_bytes("x"));
        co_await coro::sleep_for(1min);
    };
    simulate(beside(handler, {.limits = {.minimum_rate = 1, .rate_grace = 100ms}}, client));
    EXPECT_EQ(handler.cause, end_cause::rate);
}

TEST_F(guardian_limits_test, words_without_a_watch_have_no_effect) {
    const auto body = []() -> task<> {
        auto ends = net::memory_stream::pair();
        net::guardian guard(net::guardian_limits{.header = 1s});
        std::optional<net::guardian::watch> watch(guard.watch_over(ends.first));
        net::guarded words(*watch);
        net::guarded moved = std::move(words);
        const auto nothing = words.header();  // NOLINT: that is what is tested
        watch.emplace(guard.watch_over(ends.first));
        const auto nothing_either = moved.header();
        co_await coro::sleep_for(5s);
        EXPECT_EQ(moved.cause(), end_cause::none);
        EXPECT_EQ(guard.ended_by(end_cause::header), 0u);
    };
    simulate(body());
}

// --- what is told

class report_lines {
public:
    report_lines() {
        coro::set_report_hook(
            [](const coro::report_event& event, void* user) noexcept {
                static_cast<report_lines*>(user)->lines.push_back(
                    std::string(event.verb) + ": " + std::string(event.text));
            },
            this);
    }
    report_lines(const report_lines&) = delete;
    report_lines& operator=(const report_lines&) = delete;
    ~report_lines() { coro::set_report_hook(nullptr, nullptr); }

    [[nodiscard]] bool have(std::string_view text) const {
        return std::ranges::any_of(
            lines, [&](const std::string& each) { return each.find(text) != each.npos; });
    }
    std::vector<std::string> lines;
};

task<> fail_when_it_ends(net::tcp_stream peer) {
    std::array<std::byte, 8> all{};
    co_await net::read_exact(peer, all);
}

TEST_F(guardian_limits_test, the_error_of_an_ended_connection_is_told_as_its_cause) {
    const report_lines log;
    const auto client = [&](net::endpoint where) -> task<> {
        auto stream = co_await net::tcp_stream::connect(where);
        co_await coro::sleep_for(1min);
    };
    simulate(beside(fail_when_it_ends, {.limits = {.first_byte = 1500ms}}, client));
    EXPECT_TRUE(log.have("serve: no byte within 1500 ms, ended"));
    simulate(beside(fail_when_it_ends, {.limits = {.first_byte = none, .total = 2s}}, client));
    EXPECT_TRUE(log.have("serve: open for 2 s, ended"));
    EXPECT_EQ(log.lines.size(), 2u);
}

TEST_F(guardian_limits_test, a_peer_that_closed_is_named_with_where_its_handler_waits) {
    for (const bool ended : {false, true}) {
        const report_lines log;
        coro::server_control control;
        coro::event enough;
        time_point closed{};
        const auto handler = [&](net::tcp_stream peer) -> task<> {
            std::array<std::byte, 1> byte{};
            EXPECT_EQ(co_await peer.read_some(byte), 1u);
            co_await enough.wait();  // and not in a read
        };
        const auto client = [&](net::endpoint where) -> task<> {
            auto stream = co_await net::tcp_stream::connect(where);
            co_await net::write_all(stream, coro::as_bytes("x"));
            co_await coro::sleep_for(1s);
            stream.shutdown_send();
            closed = coro::now();
            co_await coro::sleep_for(28s);
            EXPECT_TRUE(log.lines.empty());
            co_await coro::sleep_for(30s / 8 + 60s / 8 + 2s);
            EXPECT_TRUE(log.have("the peer has closed, and its handler does not read: #"));
            EXPECT_TRUE(log.have("event")) << "where it waits";
            EXPECT_EQ(log.lines.size(), 1u);
            enough.set();
            co_await coro::sleep_for(1s);
        };
        simulate(beside(handler, {.limits = {.end_half_closed = ended}, .control = &control},
                        client));
        EXPECT_EQ(control.stats().ended_by(end_cause::half_closed), ended ? 1u : 0u);
    }
}

TEST_F(guardian_limits_test, all_whose_peers_have_closed_are_told_and_ended_one_is_named) {
    const report_lines log;
    coro::server_control control;
    coro::event enough;
    const auto handler = [&](net::tcp_stream peer) -> task<> {
        std::array<std::byte, 1> byte{};
        EXPECT_EQ(co_await peer.read_some(byte), 1u);
        co_await enough.wait();
    };
    const auto client = [&](net::endpoint where) -> task<> {
        std::vector<net::tcp_stream> all;
        for (int i = 0; i < 5; ++i) {
            all.push_back(co_await net::tcp_stream::connect(where));
            co_await net::write_all(all.back(), coro::as_bytes("x"));
        }
        for (net::tcp_stream& each : all) each.shutdown_send();
        co_await coro::sleep_for(50s);
        enough.set();
        co_await coro::sleep_for(1s);
    };
    simulate(beside(handler, {.limits = {.end_half_closed = true}, .control = &control}, client));
    EXPECT_EQ(control.stats().ended_by(end_cause::half_closed), 5u);
    EXPECT_EQ(log.lines.size(), 5u);
    EXPECT_EQ(std::ranges::count_if(log.lines,
                                    [](const std::string& each) {
                                        return each.find("does not read: #") != each.npos;
                                    }),
              1);
}

TEST_F(guardian_limits_test, no_span_of_half_closed_keeps_the_loop_busy) {
    for (const duration span : {duration::min(), duration(-1s), duration(0), duration(1ms)}) {
        const auto body = [&]() -> task<> {
            auto ends = net::memory_stream::pair();
            net::guardian guard(net::guardian_limits{.idle = none, .half_closed = span});
            const net::guardian::watch watch = guard.watch_over(ends.first);
            co_await coro::sleep_for(10s + 1us);
            EXPECT_EQ(watch.cause(), end_cause::first_byte);
            EXPECT_LT(coro::current_loop_stats().turns, 1000u);
        };
        simulate(body());
    }
}

TEST_F(guardian_limits_test, the_drain_names_who_was_stuck) {
    const report_lines log;
    const auto handler = [&](net::tcp_stream peer) -> task<> {
        coro::event never_set;
        co_await never_set.wait();
        static_cast<void>(peer);
    };
    const auto client = [&](net::endpoint where) -> task<> {
        std::vector<net::tcp_stream> all;
        for (int i = 0; i < 10; ++i) all.push_back(co_await net::tcp_stream::connect(where));
        co_await coro::sleep_for(1s);
    };
    simulate(beside(handler, {.limits = {.drain = 3s}}, client));
    EXPECT_EQ(std::ranges::count_if(log.lines,
                                    [](const std::string& each) {
                                        return each.find("the drain is over: #") != each.npos;
                                    }),
              8);
    EXPECT_TRUE(log.have("cancelled, the drain is over: 2 more handlers"));
}

// --- who makes room, and who is turned away

TEST_F(guardian_limits_test, those_silent_for_longest_make_room_and_no_others) {
    const auto body = []() -> task<> {
        std::vector<std::pair<net::memory_stream, net::memory_stream>> streams;
        std::vector<net::guardian::watch> watches;
        net::guardian guard(net::guardian_limits{.first_byte = none, .idle = 80s});
        for (int i = 0; i < 4; ++i) {
            streams.push_back(net::memory_stream::pair());
            watches.push_back(guard.watch_over(streams.back().first));
        }
        EXPECT_EQ(guard.end_quietest(4), 0u) << "no look yet";
        co_await coro::sleep_for(31s);  // three looks; the first only begins
        co_await net::write_all(streams[1].first, coro::as_bytes("x"));
        co_await coro::sleep_for(21s);
        co_await net::write_all(streams[2].first, coro::as_bytes("x"));
        co_await net::write_all(streams[0].first, coro::as_bytes("x"));  // since the last look
        EXPECT_EQ(guard.end_quietest(1), 1u);
        EXPECT_EQ(watches[3].cause(), end_cause::evicted);
        EXPECT_EQ(guard.end_quietest(8), 1u) << "two have moved since their last look";
        EXPECT_EQ(watches[1].cause(), end_cause::evicted);
        watches.clear();
    };
    simulate(body());
}

TEST_F(guardian_limits_test, without_a_limit_of_silence_nobody_makes_room) {
    const auto body = []() -> task<> {
        auto ends = net::memory_stream::pair();
        net::guardian guard(net::guardian_limits{.first_byte = none, .idle = none});
        const net::guardian::watch watch = guard.watch_over(ends.first);
        co_await coro::sleep_for(10min);
        EXPECT_EQ(guard.end_quietest(1), 0u);
        EXPECT_FALSE(watch.has_ended());
    };
    simulate(body());
}

task<net::tcp_stream> connect_from(std::string_view address, net::endpoint to) {
    net::connect_options from;
    from.local = net::endpoint::parse(address).value();
    co_return co_await net::tcp_stream::connect(to, from);
}

/// What is read until the connection ends, or how it ends otherwise.
task<std::string> end_of(net::tcp_stream stream) {
    std::string text;
    std::array<std::byte, 64> into{};
    try {
        while (const std::size_t n = co_await stream.read_some(into))
            text.append(reinterpret_cast<const char*>(into.data()), n);
    } catch (const coro::io_error&) {
        text += "reset";
    }
    co_return text;
}

TEST_F(guardian_limits_test, an_address_has_no_more_connections_than_it_may) {
    for (const bool refused : {false, true}) {
        const report_lines log;
        coro::server_control control;
        const auto handler = [&](net::tcp_stream peer) -> task<> { co_await read_until_end(peer); };
        const auto client = [&](net::endpoint where) -> task<> {
            auto first = co_await connect_from("127.0.0.2:0", where);
            auto second = co_await connect_from("127.0.0.2:0", where);
            const std::string third = co_await end_of(co_await connect_from("127.0.0.2:0", where));
            EXPECT_EQ(third, refused ? "no\n" : "reset");
            auto another = co_await connect_from("127.0.0.3:0", where);
            co_await coro::sleep_for(1ms);
            EXPECT_EQ(control.stats().active, 3u);
            EXPECT_EQ(control.stats().over_address, 1u);
            second.close();
            co_await coro::sleep_for(1ms);
            auto again = co_await connect_from("127.0.0.2:0", where);
            co_await coro::sleep_for(1ms);
            EXPECT_EQ(control.stats().active, 3u) << "its place came back";
            EXPECT_EQ(control.stats().accepted, 4u);
        };
        simulate(beside(handler,
                        {.limits = {.per_address = 2, .limit_loopback = true},
                         .control = &control,
                         .refusal = refused ? "no\n" : ""},
                        client));
        EXPECT_TRUE(log.have("serve: turned away: its address has as many connections"));
        EXPECT_EQ(control.stats().active, 0u);
    }
}

TEST_F(guardian_limits_test, addresses_of_this_machine_are_not_limited_unless_asked) {
    coro::server_control control;
    const auto handler = [&](net::tcp_stream peer) -> task<> { co_await read_until_end(peer); };
    const auto client = [&](net::endpoint where) -> task<> {
        std::vector<net::tcp_stream> all;
        for (int i = 0; i < 5; ++i) all.push_back(co_await net::tcp_stream::connect(where));
        co_await coro::sleep_for(1ms);
        EXPECT_EQ(control.stats().active, 5u);
    };
    simulate(beside(handler, {.limits = {.per_address = 1}, .control = &control}, client));
}

}  // namespace
}  // namespace coro_test
