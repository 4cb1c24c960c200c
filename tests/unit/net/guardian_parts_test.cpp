// The parts of a server that users can use on their own: guardian, reset_on_failure.
#include <coro/net/guardian.hpp>

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/net/exact.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/net/tcp.hpp>
#include <coro/net/transport.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"
#include "unit/net/stream_pair.hpp"

namespace coro_test {
namespace {

using coro::duration;
using coro::io_error;
using coro::task;
using coro::time_point;
namespace net = coro::net;
using net::stream_tests::connected_pair;

class guardian_parts : public core_test {};

/// Passes everything on to a stream below it.
class passing final : public net::transport {
public:
    explicit passing(net::stream below) : below_(std::move(below)) {}
    void submit(net::transfer what) noexcept override {
        (what.sends() ? out_ : in_).forward(what);
    }
    void cancel(net::transfer what) noexcept override { (what.sends() ? out_ : in_).cancel(); }
    void shutdown_send() override { below_.shutdown_send(); }
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    [[nodiscard]] std::uint64_t activity() const noexcept override { return below_.activity(); }
    [[nodiscard]] std::string_view describe() const noexcept override { return "passing"; }

private:
    net::stream below_;
    net::relay in_{*this, below_};
    net::relay out_{*this, below_};
};

/// What a read of a silent stream ends with, and after how long.
class silence {
public:
    std::string how;
    duration took{};
};
task<> read_until_it_ends(net::stream& from, silence& seen) {
    const time_point start = coro::now();
    std::array<std::byte, 8> into{};
    try {
        const std::size_t n = co_await from.read_some(into);
        seen.how = n == 0 ? "end of stream" : "data";
    } catch (const io_error& error) {
        seen.how = error.code() == coro::errc::closed ? "closed" : "error";
    }
    seen.took = coro::now() - start;
}

TEST_F(guardian_parts, ends_a_silent_stream_of_every_kind) {
    constexpr duration span = 8s;
    std::array<silence, 3> seen;
    bool told = false;
    const auto body = [&]() -> task<> {
        auto plain = co_await connected_pair();
        auto below = co_await connected_pair();
        auto memory = net::memory_stream::pair();
        net::stream over(std::make_unique<passing>(std::move(below.client)));
        net::guardian guard(span);
        const net::guardian::watch first = guard.watch_over(plain.client);
        const net::guardian::watch second = guard.watch_over(over);
        const net::guardian::watch third = guard.watch_over(memory.first);
        const auto reading = [&](coro::task_group& group) -> task<> {
            group.spawn(read_until_it_ends, std::ref<net::stream>(plain.client),
                        std::ref(seen[0]));
            group.spawn(read_until_it_ends, std::ref(over), std::ref(seen[1]));
            group.spawn(read_until_it_ends, std::ref<net::stream>(memory.first),
                        std::ref(seen[2]));
            co_return;
        };
        co_await coro::with_task_group(reading);
        told = first.has_ended() && second.has_ended() && third.has_ended();
    };
    simulate(body());
    EXPECT_EQ(seen[0].how, "end of stream");
    EXPECT_EQ(seen[1].how, "end of stream") << "what it stands on was ended";
    EXPECT_EQ(seen[2].how, "closed") << "it stands on nothing";
    for (const silence& each : seen) {
        EXPECT_GE(each.took, span);
        EXPECT_LE(each.took, span + span / 8 + 2ms);
    }
    EXPECT_TRUE(told);
}

/// The guard ends what stands below, as it does after a read: the transport itself stays open, and
/// a read that comes late finds the end of the stream.
TEST_F(guardian_parts, ends_what_a_transport_stands_on_before_any_read_or_write) {
    silence late;
    silence peer;
    const auto body = [&]() -> task<> {
        auto below = co_await connected_pair();
        net::stream middle(std::make_unique<passing>(std::move(below.client)));
        net::stream over(std::make_unique<passing>(std::move(middle)));
        net::guardian guard(8s);
        const net::guardian::watch watch = guard.watch_over(over);
        co_await read_until_it_ends(below.server, peer);
        EXPECT_TRUE(watch.has_ended());
        co_await read_until_it_ends(over, late);
    };
    simulate(body());
    EXPECT_EQ(peer.how, "end of stream");
    EXPECT_EQ(late.how, "end of stream") << "the transport was not closed";
}

TEST_F(guardian_parts, a_stream_on_which_bytes_move_goes_on) {
    const auto body = [&]() -> task<> {
        auto memory = net::memory_stream::pair();
        net::guardian guard(1s);
        const net::guardian::watch watch = guard.watch_over(memory.first);
        const std::array<std::byte, 1> byte{};
        for (int i = 0; i < 20; ++i) {
            co_await coro::sleep_for(700ms);
            co_await net::write_all(memory.second, byte);
        }
        EXPECT_FALSE(watch.has_ended());
        EXPECT_TRUE(memory.first.describe() != "");
    };
    simulate(body());
}

TEST_F(guardian_parts, a_watch_moves_and_its_end_ends_the_watching) {
    std::size_t ended = 0;
    const auto body = [&]() -> task<> {
        std::vector<net::memory_stream> ends;
        net::guardian guard(1s);
        std::vector<net::guardian::watch> watches;  // grows, and so moves them
        for (int i = 0; i < 20; ++i) {
            auto memory = net::memory_stream::pair();
            watches.push_back(guard.watch_over(memory.first));
            ends.push_back(std::move(memory.first));
            ends.push_back(std::move(memory.second));
            co_await coro::sleep_for(10ms);
        }
        watches.pop_back();
        watches.front() = std::move(watches.back());  // the first stream is watched no more
        watches.pop_back();
        co_await coro::sleep_for(5s);
        for (const net::guardian::watch& each : watches) ended += each.has_ended() ? 1 : 0;
        EXPECT_NE(ends.front().describe(), "") << "nobody watched it";
        EXPECT_NE(ends[38].describe(), "") << "nobody watched it";
    };
    simulate(body());
    EXPECT_EQ(ended, 18u);
}

// --- streams that move to another loop

/// Simulates with two loops.
void simulate_loops(task<> main) {
    coro::run_options options;
    options.poller = coro::poller_choice::simulation;
    options.loops = 2;
    coro::run(std::move(main), options);
}

/// Moves it to loop 1, where it is silent for so long. What it reads within.
task<> be_silent_elsewhere(net::tcp_stream stream, duration span, silence& seen) {
    co_await stream.rebind();
    const auto read = [&]() -> task<> { co_await read_until_it_ends(stream, seen); };
    static_cast<void>(co_await coro::move_on_after(span, read()));
}
task<> silent_elsewhere(net::tcp_stream stream, duration span, silence& seen) {
    const auto body = [&](coro::task_group& group) -> task<> {
        group.spawn({.loop = 1}, be_silent_elsewhere, std::move(stream), span, std::ref(seen));
        co_return;
    };
    co_await coro::with_task_group(body);
}

/// As a pool has them: it was watched while a task had it, and is lent to another loop later.
TEST_F(guardian_parts, a_stream_whose_watch_has_ended_takes_no_span_along) {
    enum class how { destroyed, replaced, moved_and_destroyed, watched };
    for (const how ends : {how::destroyed, how::replaced, how::moved_and_destroyed, how::watched}) {
        silence seen;
        const auto body = [&]() -> task<> {
            auto pair = co_await connected_pair();
            auto memory = net::memory_stream::pair();
            net::guardian guard(1s);
            std::optional<net::guardian::watch> watch(guard.watch_over(pair.client));
            if (ends == how::destroyed) watch.reset();
            if (ends == how::replaced) *watch = guard.watch_over(memory.first);
            if (ends == how::moved_and_destroyed) {
                const net::guardian::watch last(std::move(*watch));
            }
            co_await silent_elsewhere(std::move(pair.client), 10s, seen);
        };
        simulate_loops(body());
        EXPECT_EQ(seen.how, ends == how::watched ? "end of stream" : "");
    }
}

/// Two guards with spans of their own: the one that came last counts.
TEST_F(guardian_parts, the_end_of_a_watch_leaves_the_span_of_another_guard) {
    silence seen;
    const auto body = [&]() -> task<> {
        auto pair = co_await connected_pair();
        net::guardian first(1s);
        net::guardian second(2s);
        std::optional<net::guardian::watch> ends(first.watch_over(pair.client));
        const net::guardian::watch stays = second.watch_over(pair.client);
        ends.reset();
        co_await silent_elsewhere(std::move(pair.client), 10s, seen);
    };
    simulate_loops(body());
    EXPECT_EQ(seen.how, "end of stream");
    EXPECT_GE(seen.took, 2s);
}

task<> be_watched_elsewhere(net::tcp_stream stream, silence& seen) {
    co_await stream.rebind();
    net::guardian guard(8s);
    const net::guardian::watch watch = guard.watch_over(stream);
    co_await read_until_it_ends(stream, seen);
}

TEST_F(guardian_parts, a_guard_of_the_other_loop_takes_a_stream_over_that_has_moved) {
    silence seen;
    const auto body = [&]() -> task<> {
        auto pair = co_await connected_pair();
        net::guardian guard(1s);
        const net::guardian::watch watch = guard.watch_over(pair.client);
        const auto elsewhere = [&](coro::task_group& group) -> task<> {
            group.spawn({.loop = 1}, be_watched_elsewhere, std::move(pair.client), std::ref(seen));
            co_return;
        };
        co_await coro::with_task_group(elsewhere);
    };
    simulate_loops(body());
    EXPECT_EQ(seen.how, "end of stream");
    EXPECT_GE(seen.took, 8s);
}

TEST_F(guardian_parts, the_end_of_a_stream_that_has_moved_is_told_under_the_verb_of_its_guard) {
    for (const char* verb : {static_cast<const char*>(nullptr), "pool"}) {
        const report_log log;
        silence seen;
        const auto body = [&]() -> task<> {
            auto pair = co_await connected_pair();
            net::guardian guard(1s, verb);
            const net::guardian::watch watch = guard.watch_over(pair.client);
            co_await silent_elsewhere(std::move(pair.client), 10s, seen);
        };
        simulate_loops(body());
        EXPECT_EQ(seen.how, "end of stream");
        ASSERT_EQ(log.lines.size(), verb == nullptr ? 0u : 1u);
        if (verb != nullptr) {
            EXPECT_EQ(log.lines.front(), "pool: idle for 1 s, ended []");
        }
    }
}

TEST_F(guardian_parts, the_largest_span_watches_nobody) {
    const auto body = [&]() -> task<> {
        auto memory = net::memory_stream::pair();
        net::guardian guard(duration::max());
        const net::guardian::watch watch = guard.watch_over(memory.first);
        co_await coro::sleep_for(1000h);
        EXPECT_FALSE(watch.has_ended());
    };
    simulate(body());
}

TEST_F(guardian_parts, the_report_is_a_sentence_with_the_verb_and_the_peer) {
    const report_log log;
    const auto body = [&]() -> task<> {
        net::guardian(90s).report_end("chat", "192.0.2.1:7000");
        co_return;
    };
    simulate(body());
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_EQ(log.lines.front(), "chat: idle for 90 s, ended []");
}

// --- reset_on_failure

task<> fail_with(net::stream, bool fails) {
    co_await coro::sleep_for(1ms);
    if (fails) throw io_error(coro::errc::busy, "test");
}

/// What the peer of a stream reads whose task ends so.
task<std::string> peer_sees(net::stream near, net::stream far, bool says_so, bool fails) {
    if (says_so) near.reset_on_failure();
    const auto ended = co_await coro::as_result(fail_with(std::move(near), fails));
    EXPECT_EQ(ended.has_value(), !fails);
    std::array<std::byte, 8> into{};
    const auto read = [&]() -> task<std::size_t> { co_return co_await far.read_some(into); };
    const auto n = co_await coro::as_result(read());
    co_return n.has_value() ? "end" : n.error().code().message();
}

TEST_F(guardian_parts, a_stream_of_any_kind_is_reset_by_an_exception_if_it_was_told_to) {
    const std::string reset = std::make_error_code(std::errc::connection_reset).message();
    const auto body = [&]() -> task<> {
        for (const bool says_so : {false, true}) {
            for (const bool fails : {false, true}) {
                const std::string expected = says_so && fails ? reset : "end";
                auto plain = co_await connected_pair();
                auto below = co_await connected_pair();
                auto memory = net::memory_stream::pair();
                net::stream over(std::make_unique<passing>(std::move(below.client)));
                const std::string tcp = co_await peer_sees(
                    std::move(plain.client), std::move(plain.server), says_so, fails);
                const std::string transport = co_await peer_sees(
                    std::move(over), std::move(below.server), says_so, fails);
                const std::string in_memory = co_await peer_sees(
                    std::move(memory.first), std::move(memory.second), says_so, fails);
                EXPECT_EQ(tcp, expected);
                EXPECT_EQ(transport, expected);
                EXPECT_EQ(in_memory, expected);
            }
        }
    };
    simulate(body());
}

/// It was told to what the transport stands on, and no task has read or written.
TEST_F(guardian_parts, a_transport_is_reset_as_the_stream_that_it_stands_on) {
    const std::string reset = std::make_error_code(std::errc::connection_reset).message();
    const auto body = [&]() -> task<> {
        for (const bool fails : {false, true}) {
            auto below = co_await connected_pair();
            below.client.reset_on_failure();
            net::stream over(std::make_unique<passing>(std::move(below.client)));
            const std::string seen =
                co_await peer_sees(std::move(over), std::move(below.server), false, fails);
            const std::string expected = fails ? reset : "end";
            EXPECT_EQ(seen, expected);
        }
    };
    simulate(body());
}

/// A group of one's own whose stop is over; and the same without saying so.
TEST_F(guardian_parts, the_end_of_a_stop_is_no_failure_in_a_group_that_says_so) {
    const auto body = [&]() -> task<> {
        for (const bool says_so : {true, false}) {
            auto memory = net::memory_stream::pair();
            memory.first.reset_on_failure();
            const auto serving = [&](coro::task_group& group) -> task<> {
                group.spawn([](net::stream of) -> task<> {
                    std::array<std::byte, 8> into{};
                    while (co_await of.read_some(into) != 0) {
                    }
                }, net::stream(std::move(memory.first)));
                co_await coro::sleep_for(1ms);
                group.request_stop();
                co_await coro::sleep_for(1ms);
                group.cancel();
            };
            co_await coro::with_task_group(serving, {.cancel_ends_stop = says_so});
            silence seen;
            co_await read_until_it_ends(memory.second, seen);
            EXPECT_EQ(seen.how, says_so ? "end of stream" : "error");
        }
    };
    simulate(body());
}

}  // namespace
}  // namespace coro_test
