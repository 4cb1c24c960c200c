// detached_stream: a connection leaves one loop and becomes a stream of another.
#include <coro/net/detached_stream.hpp>

#include <array>
#include <atomic>
#include <functional>
#include <optional>
#include <utility>

#include <coro/net/memory_stream.hpp>
#include <coro/runtime/loop_handle.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using travelling = net::detached_stream<net::tcp_stream>;

class detached_stream_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, detached_stream_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

task<> echo_there(travelling moving, std::atomic<unsigned>& where) {
    net::tcp_stream peer = moving.attach();
    where.store(loop_index());
    co_await echo(std::move(peer));
}

TEST_P(detached_stream_test, is_an_argument_of_a_task_on_another_loop) {
    std::atomic<unsigned> where{0};
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto in_group = [&](task_group& group) -> task<> {
            travelling moving(std::move(pair.near));
            EXPECT_FALSE(static_cast<bool>(pair.near));
            EXPECT_TRUE(static_cast<bool>(moving));
            group.spawn({.loop = 1}, echo_there, std::move(moving), std::ref(where));
            EXPECT_FALSE(static_cast<bool>(moving));
            co_await say(pair.far, "hello");
            co_await hear(pair.far, "hello");
            pair.far.close();
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
    EXPECT_EQ(where.load(), 1u);
}

TEST_P(detached_stream_test, goes_from_loop_to_loop_to_loop) {
    std::atomic<unsigned> where{0};
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto hop = [](travelling moving, task_group& back,
                            std::atomic<unsigned>& seen) -> task<> {
            static_cast<void>(back);
            net::tcp_stream here = moving.attach();
            co_await say(here, "1");
            const auto inner = [&](task_group& group) -> task<> {
                group.spawn({.loop = 2}, echo_there, travelling(std::move(here)), std::ref(seen));
                co_return;
            };
            co_await with_task_group(inner);
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, hop, travelling(std::move(pair.near)), std::ref(group),
                        std::ref(where));
            co_await hear(pair.far, "1");
            co_await say(pair.far, "x");
            co_await hear(pair.far, "x");
            pair.far.close();
        };
        co_await with_task_group(in_group);
    };
    in_loops(3, body());
    EXPECT_EQ(where.load(), 2u);
}

TEST_P(detached_stream_test, one_that_nobody_attaches_is_closed_wherever_it_ends) {
    const auto body = [&]() -> task<> {
        for (const unsigned loop : {0u, 1u}) {
            stream_pair pair;
            co_await pair.open();
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn({.loop = loop}, [](travelling moving) -> task<> {
                    const travelling here = std::move(moving);
                    co_return;
                }, travelling(std::move(pair.near)));
                co_return;
            };
            co_await with_task_group(in_group);
            EXPECT_EQ(co_await read_to_end(pair.far), "");
        }
    };
    in_loops(2, body());
}

TEST_P(detached_stream_test, is_refused_while_an_operation_is_pending_and_when_there_is_none) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        std::error_code busy;
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn([](net::tcp_stream& from) -> task<> { co_await hear(from, "x"); },
                        std::ref(pair.near));
            co_await sleep_for(1ms);
            try {
                const travelling moving(std::move(pair.near));
            } catch (const io_error& error) {
                busy = error.code();
            }
            EXPECT_TRUE(static_cast<bool>(pair.near)) << "it stays as it was";
            co_await say(pair.far, "x");
        };
        co_await with_task_group(in_group);
        EXPECT_EQ(busy, errc::busy);
        std::error_code closed;
        try {
            const travelling moving{net::tcp_stream()};
        } catch (const io_error& error) {
            closed = error.code();
        }
        EXPECT_EQ(closed, errc::closed);
        std::error_code twice;
        travelling moving(std::move(pair.near));
        pair.near = moving.attach();
        try {
            pair.far = moving.attach();
        } catch (const io_error& error) {
            twice = error.code();
        }
        EXPECT_EQ(twice, errc::closed);
    };
    in_world(body);
}

TEST_P(detached_stream_test, its_marks_go_with_it) {
    std::atomic<bool> broken{false};
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        pair.near.reset_on_failure();
        std::array<std::byte, 2> into{};
        co_await say(pair.far, "x");
        const auto cut = [&]() -> task<> { co_await net::read_exact(pair.near, into); };
        static_cast<void>(co_await move_on_after(5ms, cut()));
        EXPECT_TRUE(pair.near.is_broken());
        const auto failing = [](travelling moving, std::atomic<bool>& seen) -> task<> {
            const net::tcp_stream here = moving.attach();
            seen.store(here.is_broken());
            co_await sleep_for(1ms);
            throw io_error(errc::busy, "test");
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, failing, travelling(std::move(pair.near)), std::ref(broken));
            co_return;
        };
        const auto guarded = [&]() -> task<> { co_await with_task_group(in_group); };
        const auto ended = co_await as_result(guarded());
        EXPECT_FALSE(ended.has_value());
        EXPECT_EQ(co_await end_of(pair.far), "reset");
    };
    in_loops(2, body());
    EXPECT_TRUE(broken.load());
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
