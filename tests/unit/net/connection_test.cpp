// connection and framed_stream as owners: they move, with what is unread and unsent in them.
#include <coro/net/connection.hpp>
#include <coro/net/framed_stream.hpp>

#include <array>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"
#include "unit/net/connection_ends.hpp"

namespace coro_test {
namespace {

using coro::task;
namespace net = coro::net;

class connection_test : public core_test {};

static_assert(std::is_nothrow_move_constructible_v<net::connection>);
static_assert(std::is_nothrow_move_assignable_v<net::connection>);
static_assert(std::is_nothrow_move_constructible_v<net::framed_stream>);
static_assert(std::is_nothrow_move_assignable_v<net::framed_stream>);
static_assert(!std::is_copy_constructible_v<net::connection>);

task<std::string> next_line(net::connection& from) {
    const auto line = co_await from.in.read_line();
    co_return line ? std::string(*line) : "end";
}

TEST_F(connection_test, reads_and_writes_and_closes_at_its_end) {
    std::string heard;
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair();
        {
            net::connection near(std::move(ends.first));
            co_await net::write_all(ends.second, coro::as_bytes("hello\n"));
            heard = co_await next_line(near);
            co_await near.out.write(coro::as_bytes("reply\n"));
            co_await near.out.flush();
        }
        net::connection far(std::move(ends.second));
        heard += " " + co_await next_line(far);
        heard += " " + co_await next_line(far);
    };
    simulate(body());
    EXPECT_EQ(heard, "hello reply end");
}

TEST_F(connection_test, moves_with_what_is_unread_and_unsent) {
    std::vector<std::string> heard;
    const auto body = [&]() -> task<> {
        connection_ends ends;
        co_await net::write_all(ends.far, coro::as_bytes("one\ntwo\nthree\n"));
        heard.push_back(co_await next_line(ends.near));
        co_await ends.near.out.write(coro::as_bytes("uno\n"));
        net::connection moved(std::move(ends.near));
        heard.push_back(co_await next_line(moved));
        co_await moved.out.write(coro::as_bytes("due\n"));
        connection_ends others;
        others.near = std::move(moved);
        heard.push_back(co_await next_line(others.near));
        co_await others.near.out.flush();
        net::connection far(std::move(ends.far));
        heard.push_back(co_await next_line(far));
        heard.push_back(co_await next_line(far));
    };
    simulate(body());
    EXPECT_EQ(heard, (std::vector<std::string>{"one", "two", "three", "uno", "due"}));
}

TEST_F(connection_test, a_view_outlives_the_move_and_one_moved_from_is_closed) {
    const auto body = [&]() -> task<> {
        connection_ends ends;
        co_await net::write_all(ends.far, coro::as_bytes("one\ntwo\n"));
        const auto view = co_await ends.near.in.read_line();
        net::connection moved(std::move(ends.near));
        EXPECT_EQ(view.value(), "one");
        EXPECT_EQ(ends.near.out.unsent(), 0u);
        const auto read = [&]() -> task<> { co_await next_line(ends.near); };
        const auto failed = co_await coro::as_result(read());
        EXPECT_FALSE(failed.has_value());
        if (failed) co_return;
        EXPECT_EQ(failed.error().code(), coro::errc::closed);
    };
    simulate(body());
}

/// What a pool does: lends, takes back, lends again.
TEST_F(connection_test, goes_through_a_channel_and_back) {
    std::string heard;
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair();
        net::connection far(std::move(ends.second));
        coro::channel<net::connection> idle{1};
        co_await idle.send(net::connection(std::move(ends.first)));
        for (int i = 0; i < 3; ++i) {
            std::optional<net::connection> lent = co_await idle.receive();
            co_await lent->out.write(coro::as_bytes("ask\n"));
            co_await lent->out.flush();
            heard += co_await next_line(far);
            co_await idle.send(std::move(*lent));
        }
    };
    simulate(body());
    EXPECT_EQ(heard, "askaskask");
}

TEST_F(connection_test, a_framed_stream_owns_its_connection_and_moves) {
    std::vector<std::string> heard;
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair();
        net::framed_stream near(net::stream(std::move(ends.first)));
        net::framed_stream far(net::connection(std::move(ends.second)), {.limit = 100});
        co_await far.write(coro::as_bytes("first"));
        co_await far.write(coro::as_bytes("second"));
        const auto first = co_await near.read();
        heard.emplace_back(coro::as_text(first.value()));
        net::framed_stream moved(std::move(near));
        const auto second = co_await moved.read();
        heard.emplace_back(coro::as_text(second.value()));
        co_await moved.write(coro::as_bytes("reply"));
        near = std::move(moved);
        co_await near.flush();
        const auto reply = co_await far.read();
        heard.emplace_back(coro::as_text(reply.value()));
        near.close();
        const auto end = co_await far.read();
        heard.emplace_back(end ? "more" : "end");
    };
    simulate(body());
    EXPECT_EQ(heard, (std::vector<std::string>{"first", "second", "reply", "end"}));
}

/// The old connection of an assignment says what it had not sent, before its stream is closed.
TEST_F(connection_test, an_assignment_tells_of_the_unsent_bytes_of_the_old_one) {
    const report_log log;
    const auto body = [&]() -> task<> {
        connection_ends old;
        connection_ends fresh;
        co_await old.near.out.write(coro::as_bytes("lost"));
        old.near = std::move(fresh.near);
        co_await net::write_all(fresh.far, coro::as_bytes("new\n"));
        EXPECT_EQ(co_await next_line(old.near), "new");
    };
    simulate(body());
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_NE(log.lines.front().find("4 bytes were written and never sent"), std::string::npos);
}

task<> read_into(net::stream& from, std::size_t count, std::string& heard) {
    heard.assign(count, '\0');
    co_await net::read_exact(from, std::as_writable_bytes(std::span(heard)));
}

/// 90 bytes that are to leave through a place for 16: the send is in flight, and most waits.
task<std::string> write_90(net::connection& to) {
    std::string text;
    for (int i = 0; i < 90; ++i) text += static_cast<char>('!' + i);
    co_await to.out.write(coro::as_bytes(text));
    co_await coro::sleep_for(1ms);
    co_return text;
}

/// By construction and by assignment, with a task that waits in flush() and without one.
TEST_F(connection_test, moves_while_a_send_is_in_flight_and_under_a_flush) {
    const report_log log;
    const auto body = [&]() -> task<> {
        for (const bool assigned : {false, true}) {
            for (const bool flushes : {false, true}) {
                connection_ends ends(net::memory_stream::pair({.capacity = 16}));
                connection_ends others;
                std::string heard;
                bool flushed = false;
                const std::string sent = co_await write_90(ends.near);
                const auto flush = [&]() -> task<> {
                    co_await ends.near.out.flush();
                    flushed = true;
                };
                const auto children = [&](coro::task_group& group) -> task<> {
                    if (flushes) group.spawn(std::ref(flush));
                    co_await coro::sleep_for(1ms);
                    EXPECT_FALSE(flushed);
                    net::connection moved(std::move(ends.near));
                    if (assigned) others.near = std::move(moved);
                    net::connection& now = assigned ? others.near : moved;
                    co_await read_into(ends.far, sent.size(), heard);
                    co_await now.out.flush();
                    EXPECT_EQ(now.out.unsent(), 0u);
                };
                co_await coro::with_task_group(children);
                EXPECT_EQ(heard, sent);
                EXPECT_EQ(flushed, flushes);
            }
        }
    };
    simulate(body());
    EXPECT_EQ(log.lines, std::vector<std::string>());
}

/// The send ends when the stream is closed, after the writer has gone: it tells, and nobody else.
TEST_F(connection_test, an_assignment_over_a_send_in_flight_tells_once_of_what_was_lost) {
    const report_log log;
    std::string heard;
    const auto body = [&]() -> task<> {
        connection_ends old(net::memory_stream::pair({.capacity = 16}));
        connection_ends fresh;
        const std::string sent = co_await write_90(old.near);
        old.near = std::move(fresh.near);
        co_await coro::sleep_for(1ms);
        co_await net::write_all(fresh.far, coro::as_bytes("new\n"));
        heard = co_await next_line(old.near);
        co_await old.near.out.write(coro::as_bytes("x"));
        co_await old.near.out.flush();
    };
    simulate(body());
    EXPECT_EQ(heard, "new");
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_NE(log.lines.front().find("74 bytes were written and never sent"), std::string::npos)
        << log.lines.front();
}

void move_under_a_reader(bool replace) {
    const auto body = [&]() -> task<> {
        connection_ends ends;
        const auto children = [&](coro::task_group& group) -> task<> {
            group.spawn([](net::connection& from) -> task<> { co_await next_line(from); },
                        std::ref(ends.near));
            co_await coro::sleep_for(1ms);
            connection_ends others;
            if (replace) ends.near = std::move(others.near);
            else others.near = std::move(ends.near);
        };
        co_await coro::with_task_group(children);
    };
    simulate(body());
}

TEST_F(connection_test, moving_it_under_a_reader_aborts_with_a_sentence) {
    EXPECT_DEATH(move_under_a_reader(false), "moved while a task waits in its read");
    EXPECT_DEATH(move_under_a_reader(true), "replaced while a task waits in its read");
}

}  // namespace
}  // namespace coro_test
