// serve() over each kind of listener that the library has: the same server, TCP and Unix.
#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/stat.h>

#include "net_test_support.hpp"
#include "support/own_folder.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// A TCP port of this machine.
struct over_tcp {
    using listener = net::tcp_listener;
    using stream = net::tcp_stream;

    listener bind() {
        listener made = listener::bind(net::endpoint::loopback(0));
        where = made.local_endpoint();
        return made;
    }
    [[nodiscard]] auto connect() const { return stream::connect(where); }
    [[nodiscard]] bool is_there() const { return false; }

    net::endpoint where;
};

/// A file in a folder of its own.
struct over_unix {
    using listener = net::local_listener;
    using stream = net::local_stream;

    [[nodiscard]] listener bind() const { return listener::bind(net::local_address::path(path)); }
    [[nodiscard]] auto connect() const {
        return stream::connect(net::local_address::path(path));
    }
    [[nodiscard]] bool is_there() const {
        struct stat found{};
        return ::lstat(path.c_str(), &found) == 0;
    }

    coro_test::own_folder folder;
    std::string path = folder.file("socket");
};

task<> echo_all(net::stream peer) {
    std::array<std::byte, 4096> buffer{};
    while (const std::size_t n = co_await peer.read_some(mutable_bytes(buffer)))
        co_await net::write_all(peer, const_bytes(buffer).first(n));
}

task<> ask(net::stream& server) {
    co_await say(server, "ping");
    co_await hear(server, "ping");
}

class serve_listeners : public world_test {
protected:
    /// Calls it for each kind of listener.
    template <typename Test>
    void over_each(const Test& test) {
        over_tcp tcp;
        test(tcp);
        over_unix local;
        test(local);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, serve_listeners, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(serve_listeners, a_stop_drains_the_handlers_and_closes_the_listener) {
    over_each([&](auto& kind) {
        using stream = typename std::remove_reference_t<decltype(kind)>::stream;
        const auto body = [&]() -> task<> {
            auto listener = kind.bind();
            const bool was_there = kind.is_there();
            const auto slow = [](stream peer) -> task<> {
                co_await hear(peer, "ask");
                co_await sleep_for(20ms);
                co_await say(peer, "answer");
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, slow));
                auto client = co_await kind.connect();
                co_await say(client, "ask");
                co_await sleep_for(5ms);
                group.request_stop();
                co_await hear(client, "answer");
                std::array<std::byte, 1> rest{};
                EXPECT_EQ(co_await client.read_some(mutable_bytes(rest)), 0u);
            };
            co_await with_task_group(in_group);
            EXPECT_FALSE(static_cast<bool>(listener));
            EXPECT_FALSE(kind.is_there()) << "the file, which was there: " << was_there;
        };
        in_loops(1, body());
    });
}

TEST_P(serve_listeners, at_the_cap_clients_wait) {
    over_each([&](auto& kind) {
        using stream = typename std::remove_reference_t<decltype(kind)>::stream;
        const auto body = [&]() -> task<> {
            auto listener = kind.bind();
            int most = 0;
            int now_served = 0;
            const auto handler = [&](stream peer) -> task<> {
                most = std::max(most, ++now_served);
                co_await echo_all(std::move(peer));
                --now_served;
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, handler, {.limits = {.connections = 2}}));
                std::vector<stream> clients;
                for (int i = 0; i < 5; ++i) clients.push_back(co_await kind.connect());
                for (auto& client : clients) {  // each end lets the next one in
                    co_await ask(client);
                    client.close();
                }
                group.request_stop();
            };
            co_await with_task_group(in_group);
            EXPECT_EQ(most, 2);
        };
        in_loops(1, body());
    });
}

TEST_P(serve_listeners, at_the_cap_clients_are_refused_with_words) {
    over_each([&](auto& kind) {
        using stream = typename std::remove_reference_t<decltype(kind)>::stream;
        const auto body = [&]() -> task<> {
            auto listener = kind.bind();
            const auto handler = [](stream peer) -> task<> {
                co_await echo_all(std::move(peer));
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, handler,
                                  {.limits = {.connections = 1}, .refusal = "no room\n"}));
                auto first = co_await kind.connect();
                co_await ask(first);
                auto second = co_await kind.connect();
                EXPECT_EQ(co_await read_to_end(second), "no room\n");
                second.close();
                co_await ask(first);
                first.close();
                group.request_stop();
            };
            co_await with_task_group(in_group);
        };
        in_loops(1, body());
    });
}

TEST_P(serve_listeners, connections_are_spread_over_the_loops) {
    over_each([&](auto& kind) {
        using stream = typename std::remove_reference_t<decltype(kind)>::stream;
        const auto body = [&]() -> task<> {
            auto listener = kind.bind();
            std::array<std::atomic<int>, 3> served{};
            const auto handler = [&served](stream peer) -> task<> {
                served[loop_index()].fetch_add(1);
                co_await echo_all(std::move(peer));
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, handler));
                std::vector<stream> clients;
                for (int i = 0; i < 6; ++i) {
                    clients.push_back(co_await kind.connect());
                    co_await ask(clients.back());
                }
                group.request_stop();
            };
            co_await with_task_group(in_group);
            for (const auto& each : served) EXPECT_EQ(each.load(), 2);
        };
        in_loops(3, body());
    });
}

TEST_P(serve_listeners, a_handler_that_fails_resets_its_client) {
    over_each([&](auto& kind) {
        using stream = typename std::remove_reference_t<decltype(kind)>::stream;
        const auto body = [&]() -> task<> {
            const report_collector reports;
            auto listener = kind.bind();
            const auto handler = [](stream peer) -> task<> {
                co_await hear(peer, "x");
                throw io_error(errc::busy, "test");
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, handler));
                auto client = co_await kind.connect();
                // A Unix socket resets only for what is not read.
                co_await say(client, "x and more");
                EXPECT_EQ(co_await end_of(client), "reset");
                group.request_stop();
            };
            co_await with_task_group(in_group);
            EXPECT_EQ(reports.entries.size(), 1u);
        };
        in_loops(1, body());
    });
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
