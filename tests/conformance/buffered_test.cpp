// buffered_stream, buffered_writer and frames on every world: what must not depend on the poller.
#include <chrono>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <coro/base/report.hpp>
#include <coro/core/as_result.hpp>
#include <coro/net/framed_stream.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "conformance/net_test_support.hpp"
#include "unit/net/stream_pair.hpp"

namespace coro::net::stream_tests {
namespace {

using namespace std::chrono_literals;

class buffered_streams : public testing::TestWithParam<poller_choice> {};

INSTANTIATE_TEST_SUITE_P(worlds, buffered_streams,
                         testing::ValuesIn(detail::conformance::all_worlds()),
                         detail::conformance::parameter_name);

std::string pattern(std::size_t size) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
        text[i] = static_cast<char>('a' + (i * 31 + i / 251) % 23);
    return text;
}

TEST_P(buffered_streams, sixteen_replies_of_one_turn_leave_in_one_send) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server);
        std::string replies;
        const loop_stats before = current_loop_stats();
        for (int i = 0; i < 16; ++i) {
            const std::string reply = "reply " + std::to_string(i) + pattern(50) + "\n";
            co_await out.write(as_bytes(reply));
            replies += reply;
        }
        EXPECT_EQ(current_loop_stats().send_calls, before.send_calls);
        const std::string got = co_await receive_exactly(pair.client, replies.size());
        EXPECT_EQ(got, replies);
        EXPECT_EQ(current_loop_stats().send_calls, before.send_calls + 1);
        EXPECT_EQ(out.unsent(), 0u);
    };
    with_pair(body, GetParam());
}

TEST_P(buffered_streams, lines_come_through_whole) {
    const auto body = [](stream_pair& pair) -> task<> {
        const auto send = [](tcp_stream& to) -> task<> {
            buffered_writer out(to, {.limit = 5000});
            for (std::size_t i = 0; i < 3000; ++i) {
                const std::string line = std::to_string(i) + pattern(i % 97) + "\r\n";
                co_await out.write(as_bytes(line));
            }
            co_await out.flush();
            to.shutdown_send();
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(send, std::ref(pair.client));
            buffered_stream in(pair.server);
            std::size_t i = 0;
            while (const auto line = co_await in.read_line()) {
                EXPECT_EQ(*line, std::to_string(i) + pattern(i % 97));
                ++i;
            }
            EXPECT_EQ(i, 3000u);
        });
    };
    with_pair(body, GetParam());
}

TEST_P(buffered_streams, an_idle_reader_holds_no_buffer) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_stream in(pair.server);
        co_await send_text(pair.client, "one\ntwo\nthr");
        EXPECT_EQ(co_await in.read_line(), "one");
        EXPECT_EQ(co_await in.read_line(), "two");
        EXPECT_FALSE(co_await move_on_after(5ms, in.read_line()));
        EXPECT_EQ(current_loop_stats().leases, 0u);
        co_await send_text(pair.client, "ee\n");
        EXPECT_EQ(co_await in.read_line(), "three");
        EXPECT_FALSE(co_await move_on_after(5ms, in.read_line()));
        EXPECT_EQ(current_loop_stats().leases, 0u);
    };
    with_pair(body, GetParam());
}

TEST_P(buffered_streams, frames_of_all_sizes_go_both_ways) {
    const auto body = [](stream_pair& pair) -> task<> {
        const auto echo = [](tcp_stream& stream) -> task<> {
            buffered_stream in(stream);
            buffered_writer out(stream);
            framed_stream messages(in, out);
            while (const auto message = co_await messages.read()) co_await messages.write(*message);
            co_await messages.flush();
            stream.shutdown_send();
        };
        const auto send = [](framed_stream& to,
                             const std::vector<std::string>& messages) -> task<> {
            for (const std::string& message : messages) co_await to.write(as_bytes(message));
        };
        std::vector<std::string> all;
        for (const std::size_t size : {0u, 1u, 64u, 4095u, 4096u, 16'384u, 65'531u, 65'532u,
                                       65'536u, 300'000u, 1'048'576u, 7u})
            all.push_back(pattern(size));
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(echo, std::ref(pair.server));
            buffered_stream in(pair.client);
            buffered_writer out(pair.client);
            framed_stream messages(in, out);
            co_await with_task_group([&](task_group& writing) -> task<> {
                writing.spawn(send, std::ref(messages), std::cref(all));
                for (const std::string& message : all) {
                    EXPECT_TRUE(text_of((co_await messages.read()).value()) == message)
                        << message.size();
                }
            });
            pair.client.shutdown_send();
            EXPECT_FALSE(co_await messages.read());
        });
    };
    with_pair(body, GetParam());
}

TEST_P(buffered_streams, reads_that_are_cancelled_all_the_time_lose_nothing) {
    const auto body = [](stream_pair& pair) -> task<> {
        const std::string text = pattern(200'000);
        const auto send = [](tcp_stream& to, const std::string& all) -> task<> {
            random_source random(1);
            for (std::size_t sent = 0; sent < all.size();) {
                const std::string_view piece =
                    std::string_view(all).substr(sent, 1 + random.below(9000));
                co_await send_text(to, piece);
                sent += piece.size();
                if (random.chance(3)) co_await sleep_for(100us);
            }
            to.shutdown_send();
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(send, std::ref(pair.client), std::cref(text));
            buffered_stream in(pair.server);
            random_source random(2);
            std::size_t at = 0;
            while (at < text.size()) {
                const std::size_t count = 1 + random.below(std::min<std::size_t>(
                                                  20'000, text.size() - at));
                const auto span = std::chrono::microseconds(random.below(200));
                const auto got = co_await move_on_after(span, in.read_exact(count));
                if (!got) continue;
                EXPECT_TRUE(as_text(*got) == std::string_view(text).substr(at, count)) << at;
                at += count;
            }
            EXPECT_TRUE((co_await in.peek(1)).empty());
        });
    };
    with_pair(body, GetParam());
}

TEST_P(buffered_streams, back_pressure_reaches_the_writer_and_a_cancelled_write_leaves_no_trace) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server, {.limit = 50'000});
        const std::string block = pattern(20'000);
        std::size_t written = 0;
        do {
            while (co_await move_on_after(10ms, out.write(as_bytes(block)))) {
                EXPECT_LE(out.unsent(), 50'000u);
                ++written;
            }
        } while (co_await move_on_after(10ms, out.flush()));
        EXPECT_GT(out.unsent(), 0u);
        std::string expected;
        for (std::size_t i = 0; i < written; ++i) expected += block;
        const std::string got = co_await receive_exactly(pair.client, expected.size());
        EXPECT_TRUE(got == expected);
        co_await out.write(as_bytes("end"));
        EXPECT_EQ(co_await receive_exactly(pair.client, 3), "end");
    };
    with_pair(body, GetParam(), 8192);
}

TEST_P(buffered_streams, a_send_in_flight_outlives_the_writer_and_the_stream) {
    const detail::conformance::report_collector told;
    const auto body = [](stream_pair& pair) -> task<> {
        const std::string text = pattern(40'000);
        bool sending = true;
        while (sending) {  // until the sockets are full
            buffered_writer out(pair.server);
            co_await out.write(as_bytes(text));
            sending = co_await move_on_after(10ms, out.flush());
        }
        pair.server.close();
        // The send is cancelled by the next turn; before that, the peer's end would be an error of
        // the kernel, which is reported to who writes.
        co_await sleep_for(1ms);
    };
    with_pair(body, GetParam(), 8192);
    ASSERT_EQ(told.entries.size(), 1u);
    EXPECT_NE(told.entries[0].text.find("never sent"), std::string::npos) << told.entries[0].text;
}

TEST_P(buffered_streams, a_cancelled_write_does_not_hold_up_those_behind_it) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server, {.limit = 64 * 1024});
        const std::string kilobyte = pattern(1024);
        do {  // until the sockets are full, and most of the buffer
            co_await out.write(as_bytes(kilobyte));
            co_await move_on_after(1ms, out.flush());
        } while (out.unsent() < 50 * 1024);
        bool accepted = false;
        const auto in_group = [&](task_group& group) -> task<> {
            cancel_scope* around_large = nullptr;
            const auto large = [](buffered_writer& to, cancel_scope*& around) -> task<> {
                const auto inside = [&](cancel_scope& scope) -> task<> {
                    around = &scope;
                    const std::string text = pattern(30'000);
                    co_await to.write(as_bytes(text));
                    ADD_FAILURE() << "there was room for it";
                };
                co_await with_cancel_scope(inside);
            };
            const auto small = [](buffered_writer& to, bool& done) -> task<> {
                co_await to.write(as_bytes("fits"));
                done = true;
            };
            group.spawn(large, std::ref(out), std::ref(around_large));
            co_await sleep_for(1ms);
            group.spawn(small, std::ref(out), std::ref(accepted));
            co_await sleep_for(1ms);
            EXPECT_FALSE(accepted) << "it overtook the one before it";
            around_large->cancel();
            while (!accepted) co_await sleep_for(1ms);
            group.cancel();
        };
        co_await with_task_group(in_group);
        pair.server.close();
        co_await sleep_for(1ms);
    };
    const detail::conformance::report_collector told;  // of what was never sent
    with_pair(body, GetParam(), 8192);
}

TEST_P(buffered_streams, a_peer_that_has_gone_is_told_by_the_next_call) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server);
        pair.client.close();
        for (;;) {
            const result<void> written = co_await as_result(out.write(as_bytes("hello?")));
            if (!written.has_value()) {
                EXPECT_TRUE(written.error().code() == std::errc::connection_reset ||
                            written.error().code() == std::errc::broken_pipe)
                    << written.error().what();
                break;
            }
            co_await sleep_for(1ms);
        }
        EXPECT_FALSE((co_await as_result(out.flush())).has_value());
    };
    with_pair(body, GetParam());
}

}  // namespace
}  // namespace coro::net::stream_tests
