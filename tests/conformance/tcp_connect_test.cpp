// Connecting and accepting, the same in all three worlds: refusals, deadlines, cancelled accepts.
#include <random>

#include "kernel_queues.hpp"
#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class tcp_connect_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, tcp_connect_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(tcp_connect_test, both_ends_know_each_other) {
    const auto body = [&]() -> task<> {
        for (const bool v6 : {false, true}) {
            auto listener = net::tcp_listener::bind(v6 ? net::endpoint::loopback_v6(0)
                                                       : net::endpoint::loopback(0));
            const net::endpoint where = listener.local_endpoint();
            EXPECT_NE(where.port(), 0);
            net::tcp_stream client = co_await net::tcp_stream::connect(where);
            net::tcp_stream server = co_await listener.accept();
            EXPECT_EQ(client.remote_endpoint(), where);
            EXPECT_EQ(server.remote_endpoint(), client.local_endpoint());
            EXPECT_EQ(server.local_endpoint(), where);
            co_await say(client, "hello");
            co_await hear(server, "hello");
        }
    };
    in_world(body);
}

TEST_P(tcp_connect_test, a_refusal_names_the_endpoint) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        listener.close();
        co_await sleep_for(5ms);  // the descriptor may go a turn later
        const auto refused = co_await as_result(net::tcp_stream::connect(where));
        EXPECT_FALSE(refused.has_value());
        if (refused) co_return;
        EXPECT_EQ(refused.error().code(), std::errc::connection_refused);
        EXPECT_EQ(refused.error().endpoint(), where.to_string());
        EXPECT_NE(std::string(refused.error().what()).find("connect tcp " + where.to_string()),
                  std::string::npos)
            << refused.error().what();
    };
    in_world(body);
}

/// A listener whose queue is full: whoever connects hangs in the handshake.
TEST_P(tcp_connect_test, connecting_ends_at_its_deadline) {
    const auto body = [&]() -> task<> {
        net::listen_options options;
        options.backlog = 1;
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0), options);
        const net::endpoint where = listener.local_endpoint();
        std::vector<net::tcp_stream> queued;
        for (bool full = false; !full;) {
            auto one = co_await move_on_after(50ms, net::tcp_stream::connect(where));
            full = is_full(listener, !one);
            if (one) queued.push_back(std::move(*one));
        }
        const time_point begun = now();
        const auto late =
            co_await as_result(with_timeout(50ms, net::tcp_stream::connect(where)));
        EXPECT_FALSE(late.has_value());
        if (!late) { EXPECT_EQ(late.error().code(), errc::deadline_exceeded); }
        EXPECT_GE(now() - begun, 50ms);
        // Those that were in the queue are whole.
        for (net::tcp_stream& each : queued) co_await say(each, "x");
        for (std::size_t i = 0; i < queued.size(); ++i) {
            net::tcp_stream server = co_await listener.accept();
            co_await hear(server, "x");
        }
    };
    in_world(body);
}

task<> accept_one(net::tcp_listener& listener, std::error_code& ended) {
    const auto one = co_await as_result(listener.accept());
    if (!one) ended = one.error().code();
}

TEST_P(tcp_connect_test, a_second_accept_is_busy_and_closing_ends_the_first) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        std::error_code first;
        std::error_code second;
        const auto waiting = [&](task_group& group) -> task<> {
            group.spawn(accept_one, std::ref(listener), std::ref(first));
            co_await sleep_for(2ms);
            co_await accept_one(listener, second);
            listener.close();
        };
        co_await with_task_group(waiting);
        EXPECT_EQ(second, errc::busy);
        EXPECT_EQ(first, errc::closed);
    };
    in_world(body);
}

TEST_P(tcp_connect_test, accept_if_waiting_does_not_wait_for_clients) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        auto none = co_await listener.accept_if_waiting();
        EXPECT_FALSE(none.has_value());
        auto client = co_await net::tcp_stream::connect(listener.local_endpoint());
        co_await say(client, "x");  // once that is acknowledged, it waits for whoever accepts
        do co_await sleep_for(1ms);
        while (!is_acknowledged(client));
        auto one = co_await listener.accept_if_waiting();
        EXPECT_TRUE(one.has_value());
        none = co_await listener.accept_if_waiting();
        EXPECT_FALSE(none.has_value());
    };
    in_world(body);
}

// --- accept cancelled at random moments

struct arrivals {
    explicit arrivals(net::tcp_listener& on) : listener(on) {}
    net::tcp_listener& listener;
    std::vector<net::tcp_stream> clients;
    std::vector<net::tcp_stream> servers;
    int cancelled_accepts = 0;
};

task<> arrive(arrivals& state, unsigned count, unsigned seed) {
    std::mt19937 random(seed);
    for (unsigned i = 0; i < count; ++i) {
        auto one = co_await net::tcp_stream::connect(state.listener.local_endpoint());
        state.clients.push_back(std::move(one));
        if (random() % 2 == 0) co_await sleep_for(std::chrono::microseconds(random() % 1500));
    }
}

/// Every client reads the number that the server side of its connection was given.
task<> check_pairs(arrivals& state) {
    for (std::size_t i = 0; i < state.servers.size(); ++i) {
        const std::string text = state.servers[i].remote_endpoint().to_string();
        co_await say(state.servers[i], text);
        state.servers[i].shutdown_send();
    }
    for (net::tcp_stream& client : state.clients) {
        const std::string text = co_await read_to_end(client);
        EXPECT_EQ(text, client.local_endpoint().to_string());
    }
}

TEST_P(tcp_connect_test, a_cancelled_accept_loses_no_connection) {
    const unsigned count = sanitized ? 100 : 300;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        arrivals state(listener);
        const auto both = [&](task_group& group) -> task<> {
            group.spawn(arrive, std::ref(state), count, 1u);
            std::mt19937 random(2);
            while (state.servers.size() < count) {
                const auto patience = std::chrono::microseconds(random() % 1200);
                auto one = co_await move_on_after(patience, listener.accept());
                if (one) state.servers.push_back(std::move(*one));
                else ++state.cancelled_accepts;
            }
        };
        co_await with_task_group(both);
        EXPECT_EQ(state.servers.size(), count);
        EXPECT_GT(state.cancelled_accepts, 0);
        co_await check_pairs(state);
    };
    in_world(body);
}

TEST_P(tcp_connect_test, an_address_in_use_is_refused_by_name) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        try {
            auto second = net::tcp_listener::bind(listener.local_endpoint());
            ADD_FAILURE() << "two listeners on one port";
        } catch (const io_error& problem) {
            EXPECT_EQ(problem.code(), std::errc::address_in_use);
            EXPECT_EQ(problem.endpoint(), listener.local_endpoint().to_string());
        }
        co_return;
    };
    in_world(body);
}

/// The kernel has not told the loop of them yet, or has told and the loop has not looked.
TEST_P(tcp_connect_test, accept_if_waiting_finds_everybody_who_waits) {
    const auto body = [&]() -> task<> {
        for (const std::size_t count : {std::size_t{1}, std::size_t{70}, std::size_t{210}}) {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            const net::endpoint where = listener.local_endpoint();
            std::vector<net::tcp_stream> clients;
            for (std::size_t i = 0; i < count; ++i) {
                clients.push_back(co_await net::tcp_stream::connect(where));
                // Once its byte is acknowledged, it waits in the queue.
                co_await say(clients.back(), "x");
                while (!is_acknowledged(clients.back())) co_await sleep_for(1ms);
                if (i == 3) {  // arms what waits for connections in the kernel
                    const net::tcp_stream first = co_await listener.accept();
                    clients.erase(clients.begin());
                }
            }
            std::size_t taken = 0;
            for (;;) {
                const auto waiting = co_await listener.accept_if_waiting();
                if (!waiting.has_value()) break;
                ++taken;
            }
            EXPECT_EQ(taken, clients.size());
            EXPECT_TRUE(listener.close_if_idle());
        }
    };
    in_world(body);
}

TEST_P(tcp_connect_test, a_listener_is_not_closed_while_somebody_waits) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::tcp_stream client =
            co_await net::tcp_stream::connect(listener.local_endpoint());
        while (queue_length(listener.local_endpoint().port(), 1) < 1) co_await sleep_for(1ms);
        EXPECT_FALSE(listener.close_if_idle());
        EXPECT_TRUE(listener);
        const net::tcp_stream taken = co_await listener.accept();
        EXPECT_TRUE(listener.close_if_idle());
        EXPECT_FALSE(listener);
        EXPECT_TRUE(listener.close_if_idle()) << "it is closed already";
    };
    in_world(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
