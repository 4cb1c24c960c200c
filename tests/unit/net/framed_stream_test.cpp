// frames in virtual time: the prefix, limits, ends, memory, and both directions under cancellation.
#include <coro/net/framed_stream.hpp>

#include <chrono>
#include <string>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/net/stream_pair.hpp"

namespace coro::net::stream_tests {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

constexpr poller_choice sim = poller_choice::simulation;

/// A stream with everything around it that frames need.
class framed {
public:
    explicit framed(tcp_stream& stream, frame_options options = {}, std::size_t limit = 64 * 1024)
        : in(stream, {.limit = limit}), out(stream, {.limit = limit}), messages(in, out, options) {}

    buffered_stream in;
    buffered_writer out;
    framed_stream messages;
};

TEST(framed_stream, a_frame_is_a_big_endian_length_and_the_payload) {
    const auto body = [](stream_pair& pair) -> task<> {
        framed server(pair.server);
        co_await server.messages.write(as_bytes("hello"));
        co_await server.messages.write({});
        co_await server.messages.write(as_bytes(std::string(258, 'x')));
        EXPECT_EQ(co_await receive_exactly(pair.client, 4 + 5 + 4 + 4),
                  "\0\0\0\5hello\0\0\0\0\0\0\1\2"s);
        EXPECT_EQ(co_await receive_exactly(pair.client, 258), std::string(258, 'x'));

        co_await send_text(pair.client, "\0\0\0\3abc\0\0\0\0\0\0\0\1z"s);
        pair.client.shutdown_send();
        EXPECT_EQ(text_of((co_await server.messages.read()).value()), "abc");
        EXPECT_EQ(text_of((co_await server.messages.read()).value()), "");
        EXPECT_EQ(text_of((co_await server.messages.read()).value()), "z");
        EXPECT_FALSE(co_await server.messages.read());
        EXPECT_FALSE(co_await server.messages.read());
    };
    with_pair(body);
}

TEST(framed_stream, the_end_inside_of_a_frame_is_an_error) {
    for (const std::string& part : {"\0"s, "\0\0\0"s, "\0\0\0\5"s, "\0\0\0\5hell"s}) {
        const auto body = [&](stream_pair& pair) -> task<> {
            framed server(pair.server);
            co_await send_text(pair.client, part);
            pair.client.shutdown_send();
            for (int again = 0; again < 2; ++again) {
                expect_error(co_await error_of([&] { return server.messages.read(); }),
                             errc::end_of_stream, "read frame", part.size());
            }
            EXPECT_EQ(text_of(co_await server.in.read_exact(part.size())), part);
        };
        with_pair(body);
    }
}

TEST(framed_stream, a_length_above_the_limit_is_refused_before_anything_is_held_for_it) {
    const auto body = [](stream_pair& pair) -> task<> {
        framed server(pair.server, {.limit = 10});
        co_await send_text(pair.client, "\0\0\0\xa" "0123456789"s "\0\0\0\xb"s "0123456789a"s);
        EXPECT_EQ(text_of((co_await server.messages.read()).value()), "0123456789");
        for (int again = 0; again < 2; ++again) {
            expect_error(co_await error_of([&] { return server.messages.read(); }),
                         errc::limit_exceeded, "read frame", 0);
        }
        EXPECT_EQ(server.in.buffered(), 15u);
        // The other direction: nothing is written.
        expect_error(co_await error_of([&] {
                         return server.messages.write(as_bytes("0123456789a"));
                     }),
                     errc::limit_exceeded, "write frame", 0);
        EXPECT_EQ(server.out.unsent(), 0u);
        co_await server.messages.write(as_bytes("0123456789"));
        EXPECT_EQ(server.out.unsent(), 14u);
        co_await server.messages.flush();
    };
    with_pair(body);
}

TEST(framed_stream, what_is_announced_and_never_sent_holds_little) {
    const auto body = [](stream_pair& pair) -> task<> {
        framed server(pair.server, {.limit = 0xffffffff});
        co_await send_text(pair.client, "\xff\xff\xff\xff"s "only this"s);
        EXPECT_FALSE(co_await move_on_after(1s, server.messages.read()));
        EXPECT_EQ(server.in.buffered(), 13u);
        EXPECT_EQ(current_loop_stats().leases, 0u);
    };
    with_pair(body);
}

TEST(framed_stream, a_frame_may_be_longer_than_both_buffers) {
    const auto body = [](stream_pair& pair) -> task<> {
        framed client(pair.client, {}, 100), server(pair.server, {}, 100);
        std::string large(500'000, ' ');
        for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 31 % 251);
        const auto send = [](framed& from, const std::string& text) -> task<> {
            co_await from.messages.write(as_bytes("before"));
            co_await from.messages.write(as_bytes(text));
            co_await from.messages.write(as_bytes("after"));
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(send, std::ref(client), std::cref(large));
            EXPECT_EQ(text_of((co_await server.messages.read()).value()), "before");
            EXPECT_EQ(text_of((co_await server.messages.read()).value()), large);
            EXPECT_EQ(text_of((co_await server.messages.read()).value()), "after");
        });
    };
    with_pair(body);
}

TEST(framed_stream, lines_and_frames_may_alternate_on_one_stream) {
    const auto body = [](stream_pair& pair) -> task<> {
        framed server(pair.server);
        co_await send_text(pair.client, "hello\r\n\0\0\0\2hi" "bye\n"s);
        EXPECT_EQ(co_await server.in.read_line(), "hello");
        EXPECT_EQ(text_of((co_await server.messages.read()).value()), "hi");
        EXPECT_EQ(co_await server.in.read_line(), "bye");
    };
    with_pair(body);
}

TEST(framed_stream, a_large_frame_that_is_cut_short_breaks_the_writer) {
    const auto body = [](stream_pair& pair) -> task<> {
        framed server(pair.server, {}, 1000);
        const std::string large(30'000, 'L');
        EXPECT_FALSE(co_await move_on_after(1ms, server.messages.write(as_bytes(large))));
        expect_error(co_await error_of([&] { return server.messages.write(as_bytes("x")); }),
                     errc::broken, "write frame", 0);
        EXPECT_EQ((co_await receive_exactly(pair.client, 8192)).substr(0, 6), "\0\0\x75\x30LL"s);
    };
    with_pair(body, sim, 4096);
}

// --- the property: both ends are cancelled all the time; the messages are those that were written

std::string message_of(std::uint64_t number, random_source& random) {
    const std::size_t size = random.chance(10) ? random.below(30'000) : random.below(200);
    return std::to_string(number) + ":" + std::string(size, static_cast<char>('a' + number % 26));
}

task<> write_messages(framed_stream& to, std::vector<std::string>& accepted,
                      unsigned& interrupted, std::uint64_t seed) {
    random_source random(seed);
    for (std::uint64_t number = 0; number < 60; ++number) {
        const std::string message = message_of(number, random);
        const auto span = std::chrono::microseconds(random.below(3000));
        if (co_await move_on_after(span, to.write(as_bytes(message)))) accepted.push_back(message);
        else ++interrupted;
        if (random.chance(4))
            co_await sleep_for(std::chrono::microseconds(random.below(8000)));
    }
    co_await to.flush();
}

task<> read_messages(framed_stream& from, std::vector<std::string>& got,
                     unsigned& interrupted, std::uint64_t seed) {
    random_source random(seed);
    for (;;) {
        const auto span = std::chrono::microseconds(random.below(300));
        const auto answer = co_await move_on_after(span, from.read());
        if (!answer) ++interrupted;
        else if (!*answer) co_return;
        else got.push_back(text_of(**answer));
        if (random.chance(8))
            co_await sleep_for(std::chrono::microseconds(random.below(30'000)));
    }
}

TEST(framed_stream, cancelling_at_any_await_loses_and_repeats_no_frame) {
    unsigned reads = 0;
    unsigned writes = 0;
    for (std::uint64_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        const auto body = [&](stream_pair& pair) -> task<> {
            framed client(pair.client, {}, 32'000);
            framed server(pair.server, {}, 2'000);
            std::vector<std::string> accepted, got;
            co_await with_task_group([&](task_group& group) -> task<> {
                group.spawn(read_messages, std::ref(server.messages), std::ref(got),
                            std::ref(reads), seed * 2);
                co_await write_messages(client.messages, accepted, writes, seed * 2 + 1);
                pair.client.shutdown_send();
            });
            EXPECT_EQ(got, accepted);
        };
        with_pair(body, sim, 4096);
    }
    EXPECT_GT(reads, 1500u);
    EXPECT_GT(writes, 300u);
}

}  // namespace
}  // namespace coro::net::stream_tests
