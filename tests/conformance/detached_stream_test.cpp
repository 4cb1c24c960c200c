// detached_stream: a connection leaves one loop and becomes a stream of another.
#include <coro/net/detached_stream.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <concepts>
#include <string>
#include <utility>

#include <unistd.h>

#include <coro/net/memory_stream.hpp>
#include <coro/runtime/loop_handle.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

template <typename Stream>
using travelling = net::detached_stream<Stream>;

class detached_stream_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, detached_stream_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

/// The two ends of a connection.
template <typename Stream>
struct ends {
    task<> open() {
        if constexpr (std::same_as<Stream, net::local_stream>) {
            const auto where = net::local_address::abstract("coro-detached-" +
                                                            std::to_string(::getpid()));
            auto listener = net::local_listener::bind(where);
            near = co_await net::local_stream::connect(where);
            far = co_await listener.accept();
        } else {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            near = co_await net::tcp_stream::connect(listener.local_endpoint());
            far = co_await listener.accept();
        }
    }
    Stream near;
    Stream far;
};

/// Calls it for each kind of stream that can move, in this world.
template <typename Test>
void for_each_kind(const Test& test) {
    test.template operator()<net::tcp_stream>();
    test.template operator()<net::local_stream>();
}

task<> echo_stream(net::stream peer) {
    std::array<std::byte, 4096> buffer{};
    while (const std::size_t n = co_await peer.read_some(mutable_bytes(buffer)))
        co_await net::write_all(peer, const_bytes(buffer).first(n));
}

template <typename Stream>
task<> echo_there(travelling<Stream> moving, std::atomic<unsigned>& where) {
    Stream peer = moving.attach();
    where.store(loop_index());
    co_await echo_stream(std::move(peer));
}

struct mine final : net::tcp_stream {
    int number = 0;
};
struct with_the_same_constructors final : net::tcp_stream {
    using net::tcp_stream::tcp_stream;
};
static_assert(net::detachable<net::stream> && net::detachable<net::tcp_stream> &&
              net::detachable<net::local_stream>);
static_assert(!net::detachable<net::memory_stream>);
static_assert(!net::detachable<mine> && !net::detachable<with_the_same_constructors>);
static_assert(!net::detachable<const net::tcp_stream> && !net::detachable<net::tcp_stream&>);

TEST_P(detached_stream_test, is_an_argument_of_a_task_on_another_loop) {
    for_each_kind([&]<typename Stream>() {
        std::atomic<unsigned> where{0};
        const auto body = [&]() -> task<> {
            ends<Stream> pair;
            co_await pair.open();
            const auto in_group = [&](task_group& group) -> task<> {
                travelling<Stream> moving(std::move(pair.near));
                EXPECT_FALSE(static_cast<bool>(pair.near));
                EXPECT_TRUE(static_cast<bool>(moving));
                group.spawn({.loop = 1}, echo_there<Stream>, std::move(moving), std::ref(where));
                EXPECT_FALSE(static_cast<bool>(moving));
                co_await say(pair.far, "hello");
                co_await hear(pair.far, "hello");
                pair.far.close();
            };
            co_await with_task_group(in_group);
        };
        in_loops(2, body());
        EXPECT_EQ(where.load(), 1u);
    });
}

TEST_P(detached_stream_test, goes_from_loop_to_loop_to_loop) {
    for_each_kind([&]<typename Stream>() {
        std::atomic<unsigned> where{0};
        const auto body = [&]() -> task<> {
            ends<Stream> pair;
            co_await pair.open();
            const auto hop = [](travelling<Stream> moving, task_group& back,
                                std::atomic<unsigned>& seen) -> task<> {
                static_cast<void>(back);
                Stream here = moving.attach();
                co_await say(here, "1");
                const auto inner = [&](task_group& group) -> task<> {
                    group.spawn({.loop = 2}, echo_there<Stream>,
                                travelling<Stream>(std::move(here)), std::ref(seen));
                    co_return;
                };
                co_await with_task_group(inner);
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn({.loop = 1}, hop, travelling<Stream>(std::move(pair.near)),
                            std::ref(group), std::ref(where));
                co_await hear(pair.far, "1");
                co_await say(pair.far, "x");
                co_await hear(pair.far, "x");
                pair.far.close();
            };
            co_await with_task_group(in_group);
        };
        in_loops(3, body());
        EXPECT_EQ(where.load(), 2u);
    });
}

TEST_P(detached_stream_test, one_that_nobody_attaches_is_closed_wherever_it_ends) {
    for_each_kind([&]<typename Stream>() {
        const auto body = [&]() -> task<> {
            for (const unsigned loop : {0u, 1u}) {
                ends<Stream> pair;
                co_await pair.open();
                const auto in_group = [&](task_group& group) -> task<> {
                    group.spawn({.loop = loop}, [](travelling<Stream> moving) -> task<> {
                        const travelling<Stream> here = std::move(moving);
                        co_return;
                    }, travelling<Stream>(std::move(pair.near)));
                    co_return;
                };
                co_await with_task_group(in_group);
                EXPECT_EQ(co_await read_to_end(pair.far), "");
            }
        };
        in_loops(2, body());
    });
}

TEST_P(detached_stream_test, is_refused_while_an_operation_is_pending_and_when_there_is_none) {
    for_each_kind([&]<typename Stream>() {
        const auto body = [&]() -> task<> {
            ends<Stream> pair;
            co_await pair.open();
            std::error_code busy;
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn([](Stream& from) -> task<> { co_await hear(from, "x"); },
                            std::ref(pair.near));
                co_await sleep_for(1ms);
                try {
                    const travelling<Stream> moving(std::move(pair.near));
                } catch (const io_error& error) {
                    busy = error.code();
                    EXPECT_EQ(error.endpoint(), pair.near.describe());
                }
                EXPECT_TRUE(static_cast<bool>(pair.near)) << "it stays as it was";
                co_await say(pair.far, "x");
            };
            co_await with_task_group(in_group);
            EXPECT_EQ(busy, errc::busy);
            std::error_code closed;
            try {
                const travelling<Stream> moving{Stream()};
            } catch (const io_error& error) {
                closed = error.code();
            }
            EXPECT_EQ(closed, errc::closed);
            std::error_code twice;
            travelling<Stream> moving(std::move(pair.near));
            pair.near = moving.attach();
            try {
                pair.far = moving.attach();
            } catch (const io_error& error) {
                twice = error.code();
            }
            EXPECT_EQ(twice, errc::closed);
        };
        in_world(body);
    });
}

TEST_P(detached_stream_test, its_marks_go_with_it) {
    for_each_kind([&]<typename Stream>() {
        std::atomic<bool> broken{false};
        const auto body = [&]() -> task<> {
            ends<Stream> pair;
            co_await pair.open();
            pair.near.reset_on_failure();
            std::array<std::byte, 2> into{};
            co_await say(pair.far, "x");
            const auto cut = [&]() -> task<> { co_await net::read_exact(pair.near, into); };
            static_cast<void>(co_await move_on_after(5ms, cut()));
            EXPECT_TRUE(pair.near.is_broken());
            const auto failing = [](travelling<Stream> moving, std::atomic<bool>& seen) -> task<> {
                const Stream here = moving.attach();
                seen.store(here.is_broken());
                co_await sleep_for(1ms);
                throw io_error(errc::busy, "test");
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn({.loop = 1}, failing,
                            travelling<Stream>(std::move(pair.near)), std::ref(broken));
                co_return;
            };
            const auto guarded = [&]() -> task<> { co_await with_task_group(in_group); };
            const auto ended = co_await as_result(guarded());
            EXPECT_FALSE(ended.has_value());
            // A Unix socket has no reset: its peer meets that only if it had sent more.
                const bool local = std::same_as<Stream, net::local_stream>;
                EXPECT_EQ(co_await end_of(pair.far), local ? "clean" : "reset");
        };
        in_loops(2, body());
        EXPECT_TRUE(broken.load());
    });
}

enum class end_of_a_task { returns, throws, stop_is_over };

template <typename Stream>
task<> end_with_it(travelling<Stream> moving, end_of_a_task how) {
    const travelling<Stream> here = std::move(moving);
    EXPECT_TRUE(static_cast<bool>(here));
    co_await sleep_for(how == end_of_a_task::stop_is_over ? duration(1h) : duration(1ms));
    if (how == end_of_a_task::throws) throw io_error(errc::busy, "test");
}

/// As for a stream: on its way it belongs to no loop, and ends as it was told to all the same.
TEST_P(detached_stream_test, one_that_an_exception_destroys_ends_by_a_reset_if_it_was_told_to) {
    const auto end = [](bool says_so, end_of_a_task how, std::string& seen) -> task<> {
        ends<net::tcp_stream> pair;
        co_await pair.open();
        if (says_so) pair.near.reset_on_failure();
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(end_with_it<net::tcp_stream>,
                        travelling<net::tcp_stream>(std::move(pair.near)), how);
            co_await yield();
            co_await yield();
            if (how != end_of_a_task::stop_is_over) co_return;
            group.request_stop();
            group.cancel();
        };
        const auto all = [&]() -> task<> {
            co_await with_task_group(in_group, {.cancel_ends_stop = true});
        };
        static_cast<void>(co_await as_result(all()));
        seen = co_await end_of(pair.far);
    };
    const auto body = [&]() -> task<> {
        for (const bool says_so : {false, true}) {
            for (const end_of_a_task how : {end_of_a_task::returns, end_of_a_task::throws,
                                            end_of_a_task::stop_is_over}) {
                std::string seen;
                co_await end(says_so, how, seen);
                const bool reset = says_so && how == end_of_a_task::throws;
                EXPECT_EQ(seen, reset ? "reset" : "clean") << static_cast<int>(how);
            }
        }
    };
    in_world(body);
}

TEST_P(detached_stream_test, a_stream_over_a_transport_stays) {
    const auto body = [&]() -> task<> {
        auto memory = net::memory_stream::pair();
        net::stream over = std::move(memory.first);
        std::error_code refused;
        try {
            const net::detached_stream<net::stream> moving(std::move(over));
        } catch (const io_error& error) {
            refused = error.code();
        }
        EXPECT_EQ(refused, std::errc::not_supported);
        EXPECT_TRUE(static_cast<bool>(over));
        co_return;
    };
    in_world(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
