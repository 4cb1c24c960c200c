// stream::was_interrupted(): who cancels does not matter, nor whether the wait had begun.
#include <coro/net/stream.hpp>

#include <array>
#include <functional>
#include <string>
#include <utility>

#include <coro/core/cancel_scope.hpp>
#include <coro/core/when_all.hpp>
#include <coro/core/when_any.hpp>
#include <coro/net/connection.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/runtime/until_stop.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::task;
namespace net = coro::net;

class stream_interrupted_test : public core_test {};

static_assert(noexcept(std::declval<const net::stream&>().was_interrupted()));

task<> read_one(net::stream& from) {
    std::array<std::byte, 1> into{};
    (void)co_await from.read_some(into);
}

TEST_F(stream_interrupted_test, a_stream_without_a_connection_is_not) {
    const auto body = [&]() -> task<> {
        net::stream none;
        EXPECT_FALSE(none.was_interrupted());
        auto ends = net::memory_stream::pair();
        (void)co_await coro::move_on_after(1ms, read_one(ends.first));
        EXPECT_TRUE(ends.first.was_interrupted());
        ends.first.close();
        EXPECT_FALSE(ends.first.was_interrupted());
    };
    simulate(body());
}

/// A read that a stop withdraws marks; one that the stop finds with its bytes does not.
TEST_F(stream_interrupted_test, an_empty_until_stop_is_an_interruption) {
    const auto body = [&]() -> task<> {
        for (const bool bytes_come : {false, true}) {
            auto ends = net::memory_stream::pair();
            const auto in_group = [&](coro::task_group& group) -> task<> {
                const auto waits = [&]() -> task<> {
                    std::array<std::byte, 4> into{};
                    const auto read = co_await coro::until_stop(ends.first.read_some(into));
                    EXPECT_EQ(read.has_value(), bytes_come);
                };
                group.spawn(std::ref(waits));
                co_await coro::sleep_for(1ms);
                if (bytes_come) co_await net::write_all(ends.second, coro::as_bytes("ask"));
                group.request_stop();
                co_await group.join();
            };
            co_await coro::with_task_group(in_group);
            EXPECT_EQ(ends.first.was_interrupted(), !bytes_come);
        }
    };
    simulate(body());
}

TEST_F(stream_interrupted_test, the_branch_that_loses_is_one) {
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair();
        auto others = net::memory_stream::pair();
        co_await net::write_all(others.second, coro::as_bytes("x"));
        const auto first = co_await coro::when_any(read_one(ends.first), read_one(others.first));
        EXPECT_EQ(first.index(), 1u);
        EXPECT_TRUE(ends.first.was_interrupted());
        EXPECT_FALSE(others.first.was_interrupted());
    };
    simulate(body());
}

/// It has asked for nothing. But its caller does not know how far it came.
TEST_F(stream_interrupted_test, one_that_was_cancelled_before_it_began_is_one) {
    const auto body = [&]() -> task<> {
        for (const int form : {0, 1, 2, 3}) {
            auto ends = net::memory_stream::pair();
            net::connection on(std::move(ends.first));
            const auto work = [&]() -> task<> {
                if (form == 0) co_await read_one(on.stream);
                if (form == 1) co_await on.in.read_line();
                if (form == 2) co_await on.out.write(coro::as_bytes("x"));
                if (form == 3) co_await on.out.flush();
            };
            (void)co_await coro::move_on_after(0s, work());
            EXPECT_TRUE(on.stream.was_interrupted()) << form;
        }
    };
    simulate(body());
}

/// A second task that waits for the line of a buffered writer, and goes.
TEST_F(stream_interrupted_test, a_write_that_waits_for_room_is_one) {
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair({.capacity = 16});
        net::connection on(std::move(ends.first), {.out = {.limit = 64}});
        const std::string some(60, 'x');
        co_await on.out.write(coro::as_bytes(some));
        EXPECT_FALSE(on.stream.was_interrupted());
        const auto waits = [&]() -> task<> { co_await on.out.write(coro::as_bytes(some)); };
        EXPECT_FALSE(co_await coro::move_on_after(1ms, waits()));
        EXPECT_TRUE(on.stream.was_interrupted());
        EXPECT_FALSE(on.stream.is_broken());
        on.stream.abort();
    };
    const report_log log;
    simulate(body());
}

/// The end of the peer in a message: nothing was cancelled.
TEST_F(stream_interrupted_test, a_transfer_that_was_cut_is_one) {
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair();
        co_await net::write_all(ends.second, coro::as_bytes("abc"));
        ends.second.shutdown_send();
        const auto read = [&]() -> task<> {
            std::array<std::byte, 8> into{};
            co_await net::read_exact(ends.first, into);
        };
        EXPECT_TRUE(co_await throws<coro::io_error>(read()));
        EXPECT_TRUE(ends.first.is_broken());
        EXPECT_TRUE(ends.first.was_interrupted());
    };
    simulate(body());
}

TEST_F(stream_interrupted_test, busy_and_closed_are_none) {
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair();
        const auto first = [&]() -> task<> { co_await read_one(ends.first); };
        const auto second = [&]() -> task<> {
            EXPECT_TRUE(co_await throws<coro::io_error>(read_one(ends.first)));
            EXPECT_FALSE(ends.first.was_interrupted());
            co_await net::write_all(ends.second, coro::as_bytes("x"));
        };
        co_await coro::when_all(first(), second());
        EXPECT_FALSE(ends.first.was_interrupted());
    };
    simulate(body());
}

}  // namespace
}  // namespace coro_test
