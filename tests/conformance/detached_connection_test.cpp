// detached_connection: a connection leaves one loop and goes on upon another, with nothing lost.
#include <coro/net/detached_connection.hpp>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <coro/net/memory_stream.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using net::connection;
using net::detached_connection;

class detached_connection_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, detached_connection_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

static_assert(std::is_nothrow_move_constructible_v<detached_connection>);
static_assert(!std::is_copy_constructible_v<detached_connection>);
static_assert(!std::is_convertible_v<connection&&, detached_connection>);

constexpr net::connection_options limits{.in = {.limit = 1000}, .out = {.limit = 2000}};

/// A connection, and the stream at its far end.
struct ends {
    task<> open() {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        auto client = co_await net::tcp_stream::connect(listener.local_endpoint());
        far = co_await listener.accept();
        near.emplace(std::move(client), limits);
    }
    std::optional<connection> near;
    net::tcp_stream far;
};

task<std::string> ask(connection& on, std::string_view line) {
    co_await on.out.write(as_bytes(line));
    co_await on.out.flush();
    const auto reply = co_await on.in.read_line();
    co_return std::string(reply.value_or("the end"));
}

task<> echo_lines(net::tcp_stream peer) {
    net::buffered_stream in(peer);
    while (const auto line = co_await in.read_line()) {
        const std::string reply = std::string(*line) + "\n";
        co_await net::write_all(peer, as_bytes(reply));
    }
}

/// Asks here, and hands the connection on until it has been on loops 1, 2 and 0.
task<> travels(detached_connection moving, unsigned hops, std::string& heard) {
    EXPECT_TRUE(static_cast<bool>(moving));
    connection here = moving.attach();
    EXPECT_FALSE(static_cast<bool>(moving));
    EXPECT_EQ(here.in.limit(), limits.in.limit);
    EXPECT_EQ(here.out.limit(), limits.out.limit);
    EXPECT_TRUE(here.is_clean());
    heard += co_await ask(here, std::to_string(loop_index()) + "\n");
    EXPECT_TRUE(here.is_clean());
    if (hops == 0) co_return;
    const auto in_group = [&](task_group& group) -> task<> {
        group.spawn({.loop = (loop_index() + 1) % 3}, travels,
                    detached_connection(std::move(here)), hops - 1, std::ref(heard));
        co_return;
    };
    co_await with_task_group(in_group);
}

TEST_P(detached_connection_test, asks_from_loop_to_loop_to_loop) {
    std::string heard;
    const auto body = [&]() -> task<> {
        ends pair;
        co_await pair.open();
        const auto travel = [&](task_group& group) -> task<> {
            group.spawn(echo_lines, std::move(pair.far));
            heard += co_await ask(*pair.near, "begin\n");
            detached_connection moving(std::move(*pair.near));
            EXPECT_FALSE(pair.near->is_clean());
            EXPECT_FALSE(static_cast<bool>(pair.near->stream));
            group.spawn({.loop = 1}, travels, std::move(moving), 2u, std::ref(heard));
            EXPECT_FALSE(static_cast<bool>(moving));
        };
        co_await with_task_group(travel);
    };
    in_loops(3, body());
    EXPECT_EQ(heard, "begin120");
}

/// The code with which `from` is refused; none if it is taken.
std::error_code refusal(connection& from) {
    try {
        const detached_connection taken(std::move(from));
        return {};
    } catch (const io_error& error) {
        EXPECT_STREQ(error.operation(), "detach");
        return error.code();
    }
}

TEST_P(detached_connection_test, refuses_what_would_be_lost_and_takes_nothing) {
    const auto body = [&]() -> task<> {
        ends pair;
        co_await pair.open();
        connection& near = *pair.near;
        EXPECT_TRUE(detached_connection::can_take(near));
        co_await say(pair.far, "one\ntwo\n");
        const auto one = co_await near.in.read_line();
        EXPECT_EQ(one.value_or(""), "one");
        EXPECT_EQ(refusal(near), errc::busy) << "a line is unread";
        const auto two = co_await near.in.read_line();
        EXPECT_EQ(two.value_or(""), "two");
        co_await near.out.write(as_bytes("unsent"));
        EXPECT_EQ(refusal(near), errc::busy) << "it leaves at the end of the turn";
        co_await near.out.flush();
        co_await hear(pair.far, "unsent");
        const auto reads = [&]() -> task<> {
            std::array<std::byte, 1> into{};
            co_await near.stream.read_some(into);
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(std::ref(reads));
            co_await sleep_for(1ms);
            EXPECT_EQ(refusal(near), errc::busy) << "a task reads";
            co_await say(pair.far, "x");
        };
        co_await with_task_group(in_group);
        EXPECT_TRUE(near.is_clean()) << "all the refusals have changed nothing";
        EXPECT_FALSE(co_await move_on_after(1ms, near.in.read_line()));
        EXPECT_EQ(refusal(near), errc::broken) << "a read was cancelled";
        EXPECT_TRUE(static_cast<bool>(near.stream)) << "it stays where it is";
        near.stream.close();
        EXPECT_EQ(refusal(near), errc::closed);
        EXPECT_FALSE(detached_connection::can_take(near));
    };
    in_world(body);
}

TEST_P(detached_connection_test, one_on_a_transport_stays) {
    const auto body = [&]() -> task<> {
        auto both = net::memory_stream::pair();
        connection near(std::move(both.first));
        EXPECT_FALSE(detached_connection::can_take(near));
        EXPECT_EQ(refusal(near), std::errc::not_supported);
        EXPECT_TRUE(near.is_clean());
        co_return;
    };
    in_world(body);
}

/// The reader lends from the pool of its loop: that goes back there.
TEST_P(detached_connection_test, leaves_no_memory_on_its_loop_and_closes_when_dropped) {
    const auto body = [&]() -> task<> {
        ends pair;
        co_await pair.open();
        co_await say(pair.far, "line\n");
        const auto line = co_await pair.near->in.read_line();
        EXPECT_EQ(line.value_or(""), "line");
        EXPECT_EQ(current_loop_stats().leases, 1u) << "of the line that was returned";
        {
            const detached_connection dropped(std::move(*pair.near));
            EXPECT_EQ(current_loop_stats().leases, 0u);
        }
        EXPECT_EQ(co_await end_of(pair.far), "clean");
    };
    in_world(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
