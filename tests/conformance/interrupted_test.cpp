// stream::was_interrupted(): what marks a connection, and that the mark stays on its ways.
#include <coro/net/stream.hpp>

#include <array>
#include <concepts>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

#include <coro/net/detached_stream.hpp>
#include <coro/net/memory_stream.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class interrupted_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, interrupted_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

template <typename Stream>
struct ends {
    task<> open() {
        if constexpr (std::same_as<Stream, net::memory_stream>) {
            auto both = net::memory_stream::pair();
            near = std::move(both.first);
            far = std::move(both.second);
        } else if constexpr (std::same_as<Stream, net::local_stream>) {
            const auto where = net::local_address::abstract("coro-interrupted-" +
                                                            std::to_string(::getpid()));
            auto listener = net::local_listener::bind(where);
            near = co_await net::local_stream::connect(where);
            far = co_await listener.accept();
        } else {
            constexpr net::stream_options narrow{.receive_buffer_bytes = 8192,
                                                 .send_buffer_bytes = 8192};
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0),
                                                    {.accepted = narrow});
            near = co_await net::tcp_stream::connect(listener.local_endpoint(),
                                                     {.stream = narrow});
            far = co_await listener.accept();
        }
    }
    net::stream near;
    net::stream far;
};

using act = task<> (*)(net::stream& on);

/// More than a stream takes that nobody reads.
const std::vector<std::byte>& much() {
    static const std::vector<std::byte> bytes(std::size_t{4} << 20);
    return bytes;
}
template <typename Awaitable>
task<> cut(Awaitable&& work) {
    const auto ended = co_await move_on_after(1ms, std::forward<Awaitable>(work));
    EXPECT_FALSE(static_cast<bool>(ended)) << "it was to wait";
}

// --- waits that nothing ends but their deadline

task<> read_some(net::stream& on) {
    std::array<std::byte, 8> into{};
    co_await cut(on.read_some(into));
}
task<> read_vectored(net::stream& on) {
    std::array<std::byte, 8> into{};
    const std::array<mutable_bytes, 1> pieces{into};
    co_await cut(on.read_some(pieces));
}
task<> read_leased(net::stream& on) { co_await cut(on.read_leased()); }
task<> read_exact(net::stream& on) {
    std::array<std::byte, 8> into{};
    co_await cut(net::read_exact(on, into));
    EXPECT_FALSE(on.is_broken()) << "nothing of it had come";
}
task<> write_all(net::stream& on) {
    co_await cut(net::write_all(on, much()));
    EXPECT_TRUE(on.is_broken());
}
task<> write_some(net::stream& on) {
    const auto all = [](net::stream& to) -> task<> {
        for (;;) co_await to.write_some(much());
    };
    co_await cut(all(on));
    EXPECT_FALSE(on.is_broken());
}
task<> buffered_line(net::stream& on) {
    net::buffered_stream in(on);
    co_await cut(in.read_line());
}
task<> buffered_until(net::stream& on) {
    net::buffered_stream in(on);
    const auto timed = [](net::buffered_stream& from) -> task<> {
        co_await with_timeout(1ms, from.read_until("."));
    };
    const auto ended = co_await as_result(timed(in));
    EXPECT_TRUE(!ended && ended.error() == errc::deadline_exceeded);
}
task<> frame(net::stream& on) {
    net::buffered_stream in(on);
    net::buffered_writer out(on);
    net::framed_stream messages(in, out);
    co_await cut(messages.read());
}
task<> large_write(net::stream& on) {
    net::buffered_writer out(on, {.limit = 1000});
    co_await cut(out.write(much()));
}

struct row {
    const char* name;
    act run;
};
constexpr std::array<row, 10> interruptions{{{"read_some", &read_some},
                                             {"read_some of several", &read_vectored},
                                             {"read_leased", &read_leased},
                                             {"read_exact", &read_exact},
                                             {"write_all", &write_all},
                                             {"write_some", &write_some},
                                             {"read_line", &buffered_line},
                                             {"read_until", &buffered_until},
                                             {"frame", &frame},
                                             {"large write", &large_write}}};

template <typename Stream>
task<> every_interruption_marks() {
    for (const row& each : interruptions) {
        ends<Stream> pair;
        co_await pair.open();
        EXPECT_FALSE(pair.near.was_interrupted()) << each.name;
        co_await each.run(pair.near);
        EXPECT_TRUE(pair.near.was_interrupted()) << each.name;
        EXPECT_FALSE(pair.far.was_interrupted()) << each.name;
        const net::stream moved = std::move(pair.near);
        EXPECT_TRUE(moved.was_interrupted()) << each.name;
        EXPECT_FALSE(pair.near.was_interrupted()) << "there is no connection";
    }
}

TEST_P(interrupted_test, whatever_is_cancelled_while_it_waits_marks_its_stream) {
    const auto body = [&]() -> task<> {
        co_await every_interruption_marks<net::tcp_stream>();
        co_await every_interruption_marks<net::local_stream>();
        co_await every_interruption_marks<net::memory_stream>();
    };
    in_world(body);
}

/// What a flush waits for is sent all the same.
TEST_P(interrupted_test, a_flush_that_is_cancelled_marks_and_loses_nothing) {
    const auto body = [&]() -> task<> {
        ends<net::tcp_stream> pair;
        co_await pair.open();
        net::buffered_writer out(pair.near, {.limit = much().size() + 1});
        co_await out.write(much());
        EXPECT_FALSE(pair.near.was_interrupted());
        co_await cut(out.flush());
        EXPECT_TRUE(pair.near.was_interrupted());
        const auto drain = [&]() -> task<> {
            std::size_t left = much().size();
            while (left != 0) left -= (co_await pair.far.read_leased()).size();
        };
        co_await when_all(drain(), out.flush());
        EXPECT_TRUE(pair.near.was_interrupted()) << "the mark stays";
    };
    in_world(body);
}

TEST_P(interrupted_test, what_ends_by_itself_marks_nothing) {
    const auto body = [&]() -> task<> {
        ends<net::tcp_stream> pair;
        co_await pair.open();
        co_await with_timeout(1min, when_all(say(pair.near, "hello\n"), hear(pair.far, "hello\n")));
        net::buffered_stream in(pair.near);
        net::buffered_writer out(pair.near);
        co_await when_all(say(pair.far, "line\n"), with_timeout(1min, in.read_line()));
        co_await out.write(as_bytes("x"));
        co_await with_timeout(1min, out.flush());
        pair.far.shutdown_send();
        const auto line = co_await in.read_line();
        EXPECT_FALSE(line.has_value());
        EXPECT_FALSE(pair.near.was_interrupted());
        EXPECT_FALSE(pair.far.was_interrupted());
        ends<net::tcp_stream> other;
        co_await other.open();
        other.far.abort();
        EXPECT_EQ(co_await end_of(other.near), "reset");
        EXPECT_FALSE(other.near.was_interrupted()) << "an error that cut no message";
    };
    in_world(body);
}

task<> is_marked(net::detached_stream<net::tcp_stream> moving, bool marked) {
    const net::tcp_stream here = moving.attach();
    EXPECT_EQ(here.was_interrupted(), marked);
    co_return;
}
task<> is_marked_here(net::tcp_stream stream, bool marked) {
    co_await stream.rebind();
    EXPECT_EQ(stream.was_interrupted(), marked);
}

TEST_P(interrupted_test, the_mark_goes_with_a_connection_to_another_loop) {
    const auto body = [&]() -> task<> {
        for (const bool marked : {false, true}) {
            for (const bool rebinds : {false, true}) {
                auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
                auto near = co_await net::tcp_stream::connect(listener.local_endpoint());
                const auto far = co_await listener.accept();
                if (marked) co_await read_some(near);
                const auto in_group = [&](task_group& group) -> task<> {
                    if (rebinds)
                        group.spawn({.loop = 1}, is_marked_here, std::move(near), marked);
                    else
                        group.spawn({.loop = 1}, is_marked,
                                    net::detached_stream<net::tcp_stream>(std::move(near)), marked);
                    co_return;
                };
                co_await with_task_group(in_group);
            }
        }
    };
    in_loops(2, body());
}

/// The place of a connection in the poller's table is used again.
TEST_P(interrupted_test, a_new_connection_has_no_mark_of_an_old_one) {
    const auto body = [&]() -> task<> {
        for (int round = 0; round < 3; ++round) {
            ends<net::tcp_stream> pair;
            ends<net::memory_stream> in_memory;
            co_await pair.open();
            co_await in_memory.open();
            EXPECT_FALSE(pair.near.was_interrupted());
            EXPECT_FALSE(pair.far.was_interrupted());
            EXPECT_FALSE(in_memory.near.was_interrupted());
            co_await read_some(pair.near);
            co_await read_some(pair.far);
            co_await read_some(in_memory.near);
        }
    };
    in_world(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
