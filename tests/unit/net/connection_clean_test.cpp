// connection::is_clean(): whether something of a connection is left for whoever gets it next.
#include <coro/net/connection.hpp>

#include <array>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <coro/net/framed_stream.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"
#include "unit/net/connection_ends.hpp"

namespace coro_test {
namespace {

using coro::task;
namespace net = coro::net;

class connection_clean_test : public core_test {};

task<> ask(connection_ends& ends) {
    co_await ends.near.out.write(coro::as_bytes("ask\n"));
    co_await ends.near.out.flush();
    std::array<std::byte, 4> asked{};
    co_await net::read_exact(ends.far, asked);
}

TEST_F(connection_clean_test, is_clean_when_each_reply_was_read) {
    const auto body = [&]() -> task<> {
        connection_ends ends;
        EXPECT_TRUE(ends.near.is_clean());
        for (int i = 0; i < 3; ++i) {
            co_await ask(ends);
            EXPECT_TRUE(ends.near.is_clean()) << "no one can see that a reply is to come";
            co_await net::write_all(ends.far, coro::as_bytes("reply\n"));
            EXPECT_TRUE(ends.near.is_clean()) << "nobody has read";
            EXPECT_TRUE(ends.near.stream.has_input());
            EXPECT_EQ((co_await ends.near.in.read_line()).value_or(""), "reply");
            EXPECT_TRUE(ends.near.is_clean());
            EXPECT_FALSE(ends.near.stream.has_input());
        }
        net::connection moved = std::move(ends.near);
        EXPECT_TRUE(moved.is_clean());
        EXPECT_FALSE(ends.near.is_clean()) << "it has no connection";
        moved.stream.close();
        EXPECT_FALSE(moved.is_clean());
    };
    simulate(body());
}

TEST_F(connection_clean_test, unread_bytes_and_the_end_are_not_clean) {
    const auto body = [&]() -> task<> {
        connection_ends ends;
        co_await net::write_all(ends.far, coro::as_bytes("one\ntwo\n"));
        EXPECT_EQ((co_await ends.near.in.read_line()).value_or(""), "one");
        EXPECT_FALSE(ends.near.is_clean()) << "a line is unread";
        EXPECT_FALSE(ends.near.stream.has_input()) << "the reader has it";
        EXPECT_EQ((co_await ends.near.in.read_line()).value_or(""), "two");
        EXPECT_TRUE(ends.near.is_clean());
        ends.far.shutdown_send();
        EXPECT_FALSE((co_await ends.near.in.read_line()).has_value());
        EXPECT_FALSE(ends.near.is_clean()) << "there is no reply to the next request";
    };
    simulate(body());
}

TEST_F(connection_clean_test, unsent_bytes_and_a_failed_send_are_not_clean) {
    const report_log log;
    const auto body = [&]() -> task<> {
        connection_ends ends(net::memory_stream::pair({.capacity = 16}));
        co_await ends.near.out.write(coro::as_bytes("0123456789abcdefghij"));
        EXPECT_FALSE(ends.near.is_clean()) << "it leaves at the end of the turn";
        co_await coro::sleep_for(1ms);
        EXPECT_FALSE(ends.near.is_clean()) << "four bytes do not fit";
        std::array<std::byte, 20> heard{};
        co_await net::read_exact(ends.far, heard);
        co_await ends.near.out.flush();
        EXPECT_TRUE(ends.near.is_clean());
        ends.far.abort();
        co_await ends.near.out.write(coro::as_bytes("x"));
        co_await coro::sleep_for(1ms);
        EXPECT_EQ(ends.near.out.unsent(), 0u) << "it is lost";
        EXPECT_FALSE(ends.near.is_clean());
    };
    simulate(body());
    EXPECT_EQ(log.lines, std::vector<std::string>()) << "the connection had failed";
}

TEST_F(connection_clean_test, a_read_that_is_pending_or_was_cancelled_is_not_clean) {
    const auto body = [&]() -> task<> {
        connection_ends ends;
        const auto read = [&]() -> task<> {
            EXPECT_FALSE(co_await coro::move_on_after(5ms, ends.near.in.read_line()));
        };
        const auto in_group = [&](coro::task_group& group) -> task<> {
            group.spawn(std::ref(read));
            co_await coro::sleep_for(1ms);
            EXPECT_FALSE(ends.near.stream.was_interrupted());
            EXPECT_FALSE(ends.near.is_clean());
        };
        co_await coro::with_task_group(in_group);
        EXPECT_TRUE(ends.near.stream.was_interrupted());
        EXPECT_FALSE(ends.near.is_clean());
        // The reply comes late: it stays the reply to what was asked before.
        co_await net::write_all(ends.far, coro::as_bytes("late\n"));
        EXPECT_EQ((co_await ends.near.in.read_line()).value_or(""), "late");
        EXPECT_FALSE(ends.near.is_clean()) << "once is for ever";
    };
    simulate(body());
}

TEST_F(connection_clean_test, frames_over_it_count) {
    const auto body = [&]() -> task<> {
        connection_ends ends;
        net::framed_stream messages(ends.near.in, ends.near.out);
        co_await messages.write(coro::as_bytes("abc"));
        EXPECT_FALSE(ends.near.is_clean());
        co_await messages.flush();
        EXPECT_TRUE(ends.near.is_clean());
        const std::string half{'\0', '\0', '\0', '\2', 'x'};
        co_await net::write_all(ends.far, coro::as_bytes(half));
        const auto read = [&]() -> task<> { (void)co_await messages.read(); };
        EXPECT_FALSE(co_await coro::move_on_after(1ms, read()));
        EXPECT_EQ(ends.near.in.buffered(), 5u);
        EXPECT_FALSE(ends.near.is_clean());
    };
    simulate(body());
}

TEST_F(connection_clean_test, a_writer_tells_its_limit) {
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair();
        net::buffered_writer out(ends.first, {.limit = 123});
        EXPECT_EQ(out.limit(), 123u);
        const net::buffered_writer moved = std::move(out);
        EXPECT_EQ(moved.limit(), 123u);
        EXPECT_EQ(out.limit(), 0u);
        co_return;
    };
    simulate(body());
}

}  // namespace
}  // namespace coro_test
