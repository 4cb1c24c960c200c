// connection_pool over sockets: what a peer does to connections, and what tasks are told of it.
#include <coro/service/connection_pool.hpp>

#include <functional>
#include <string>

#include <unistd.h>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class pool_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, pool_test, ::testing::ValuesIn(all_worlds()), parameter_name);

using net_pool = connection_pool<net::connection>;

task<> ask(net::connection& with, std::string_view text) {
    co_await with.out.write(as_bytes(text));
    co_await with.out.flush();
    std::string heard(text.size(), '\0');
    co_await with.in.read_exact(std::as_writable_bytes(std::span(heard)));
    EXPECT_EQ(heard, text);
}

/// Echoes, and does what some words ask for.
task<> obey(net::tcp_stream peer) {
    std::array<std::byte, 64> buffer{};
    while (const std::size_t n = co_await peer.read_some(mutable_bytes(buffer))) {
        const std::string word(as_text(const_bytes(buffer).first(n)));
        if (word == "die") co_return peer.abort();
        co_await net::write_all(peer, const_bytes(buffer).first(n));
        if (word == "bye") co_return;
        if (word == "more") co_await say(peer, "unasked");
    }
}

/// Runs `test(pool)` against a server that obeys.
template <typename Test>
task<> with_server(pool_options options, const Test& test) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const tcp_connector connector(listener.local_endpoint());
    const auto both = [&](task_group& group) -> task<> {
        group.spawn(serve(listener, obey, {.limits = {.drain = 0s}}));
        co_await with_connection_pool(connector, options, test);
        group.cancel();
    };
    co_await with_task_group(both);
}

/// Until the peer has done what it was asked for: its bytes, or its end, are here.
task<> until_it_is_here(net::connection& of) {
    while (of.is_clean() && !of.stream.has_input()) co_await sleep_for(1ms);
}

TEST_P(pool_test, what_the_peer_has_spoilt_is_not_lent_again) {
    const auto test = [](net_pool& pool) -> task<> {
        std::uint64_t made = 0;
        for (const std::string word : {"bye", "more"}) {
            {
                const auto lease = co_await pool.acquire();
                EXPECT_EQ(pool.stats().created, ++made);
                co_await ask(*lease, word);
                co_await until_it_is_here(*lease);
            }
            co_await sleep_for(2ms);  // not that it was just lent
        }
        {
            const auto lease = co_await pool.acquire();
            co_await ask(*lease, "hello");
        }
        // What came together with the answer is in the reader's buffer.
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::stale) +
                      pool.stats().discarded_for(discard_reason::unclean),
                  2U);
        EXPECT_EQ(pool.stats().created, 3U);
    };
    const auto main = [&]() -> task<> { co_await with_server({.max_size = 1}, test); };
    in_world(main);
}

TEST_P(pool_test, a_peer_that_dies_in_the_midst_is_told_to_its_user_alone) {
    const auto test = [](net_pool& pool) -> task<> {
        const auto doomed = [&]() -> task<> {
            const auto lease = co_await pool.acquire();
            co_await ask(*lease, "die");
        };
        const auto ended = co_await as_result(doomed());
        EXPECT_TRUE(ended.error() == std::errc::connection_reset) << ended.error().what();
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::exception), 1U);
        const auto lease = co_await pool.acquire();
        co_await ask(*lease, "hello");
    };
    const auto main = [&]() -> task<> { co_await with_server({.max_size = 1}, test); };
    in_world(main);
}

TEST_P(pool_test, a_cancelled_exchange_closes_its_connection_also_where_nothing_throws) {
    const auto test = [](net_pool& pool) -> task<> {
        {
            const auto lease = co_await pool.acquire();
            std::array<std::byte, 1> byte{};
            // As if a request were on its way: the wait for its reply is given up.
            EXPECT_FALSE(co_await move_on_after(1ms, lease->in.read_exact(byte)));
        }
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::unclean), 1U);
        const auto lease = co_await pool.acquire();
        co_await ask(*lease, "hello");
    };
    const auto main = [&]() -> task<> { co_await with_server({.max_size = 1}, test); };
    in_world(main);
}

TEST_P(pool_test, connections_go_from_loop_to_loop) {
    const auto test = [](net_pool& pool) -> task<> {
        const auto visits = [](net_pool& of) -> task<> {
            for (int i = 0; i < 50; ++i) {
                const auto lease = co_await of.acquire();
                co_await ask(*lease, "hello from loop " + std::to_string(loop_index()));
            }
        };
        const auto all = [&](task_group& group) -> task<> {
            for (unsigned i = 0; i < 6; ++i)
                group.spawn({.loop = i % loop_count()}, visits, std::ref(pool));
            co_return;
        };
        co_await with_task_group(all);
        EXPECT_EQ(pool.stats().acquired, 300U);
        EXPECT_LE(pool.stats().created, 2U);
        EXPECT_EQ(pool.stats().active, 0U);
    };
    in_loops(3, with_server({.max_size = 2}, test));
}

TEST_P(pool_test, a_unix_socket_has_a_pool_too) {
    const auto main = []() -> task<> {
        const auto where = net::local_address::abstract("coro-pool-" + std::to_string(::getpid()));
        auto listener = net::local_listener::bind(where);
        const auto echo_local = [](net::local_stream peer) -> task<> {
            std::array<std::byte, 64> buffer{};
            while (const std::size_t n = co_await peer.read_some(mutable_bytes(buffer)))
                co_await net::write_all(peer, const_bytes(buffer).first(n));
        };
        const auto test = [](net_pool& pool) -> task<> {
            for (int i = 0; i < 3; ++i) {
                const auto lease = co_await pool.acquire();
                co_await ask(*lease, "hello");
            }
            EXPECT_EQ(pool.stats().created, 1U);
        };
        const auto both = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, echo_local, {.limits = {.drain = 0s}}));
            const local_connector connector(where);
            co_await with_connection_pool(connector, {}, test);
            group.cancel();
        };
        co_await with_task_group(both);
    };
    in_world(main);
}

TEST_P(pool_test, a_server_that_is_not_there_is_named) {
    const auto main = []() -> task<> {
        // The near end of a connection: nobody listens at its port, and nobody else gets it.
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const auto taken = co_await net::tcp_stream::connect(listener.local_endpoint());
        const net::endpoint nowhere = taken.local_endpoint();
        const report_collector reports;
        const tcp_connector connector(nowhere);
        const auto test = [&](net_pool& pool) -> task<> {
            const auto ended = co_await as_result(pool.acquire());
            EXPECT_TRUE(ended.error() == std::errc::connection_refused);
            EXPECT_EQ(std::string(ended.error().what()),
                      "connect tcp " + nowhere.to_string() + ": Connection refused");
        };
        co_await with_connection_pool(connector, {.breaker_threshold = 1}, test);
    };
    in_world(main);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
