// Refusals of serve in virtual time: who is served and who is refused, up to the largest caps, and
// how long a server that was told to stop waits for those whom it has refused.
#include <coro/service/server.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <coro/net/exact.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::task;
namespace net = coro::net;

class server_refusals_test : public core_test {};

constexpr std::string_view no_room = "no room\n";
constexpr std::size_t countless = std::numeric_limits<std::size_t>::max();

task<> read_until_end(net::tcp_stream& stream, std::string& text) {
    std::array<std::byte, 64> into{};
    while (const std::size_t n = co_await stream.read_some(into))
        text.append(reinterpret_cast<const char*>(into.data()), n);
}

/// A server whose handlers hold their connections until the client closes its end.
struct holding_server {
    net::tcp_listener listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    net::endpoint where = listener.local_endpoint();
    std::size_t active = 0;

    task<> hold(net::tcp_stream peer) {
        ++active;
        std::string unused;
        co_await read_until_end(peer, unused);
        --active;
    }
    /// Runs `body(group)` beside the server, and then stops it. Returns how long that end took.
    template <typename Body>
    task<coro::duration> run(coro::serve_options limits, Body& body) {
        coro::time_point stopped{};
        const auto serving = [&](coro::task_group& group) -> task<> {
            const auto handler = [this](net::tcp_stream peer) { return hold(std::move(peer)); };
            group.spawn(coro::serve(listener, handler, limits));
            co_await body();
            stopped = coro::now();
            group.request_stop();
        };
        co_await coro::with_task_group(serving);
        co_return coro::now() - stopped;
    }
};

struct counts {
    std::size_t served = 0;
    std::size_t refused = 0;
};

task<> visit(coro::serve_options limits, std::size_t visits, counts& seen) {
    holding_server server;
    const auto body = [&]() -> task<> {
        std::vector<net::tcp_stream> clients;
        while (clients.size() < visits)
            clients.push_back(co_await net::tcp_stream::connect(server.where));
        co_await coro::sleep_for(1ms);
        seen.served = server.active;
        for (std::size_t i = seen.served; i < visits; ++i) {
            std::string text;
            co_await read_until_end(clients[i], text);
            if (text == no_room) ++seen.refused;
        }
    };
    (void)co_await server.run(limits, body);
}

TEST_F(server_refusals_test, caps_up_to_the_largest_serve_and_refuse_as_many_as_they_say) {
    const report_log log;  // such caps are warned of
    constexpr std::size_t visits = 15;
    for (const std::size_t connections : {std::size_t{1}, std::size_t{2}, std::size_t{10}}) {
        for (const std::size_t refusals :
             {std::size_t{100}, countless - connections, countless - connections + 1,
              countless - 1, countless}) {
            SCOPED_TRACE(std::to_string(connections) + ", " + std::to_string(refusals));
            counts seen;
            const coro::server_limits limits{.connections = connections, .refusals = refusals};
            simulate(visit({.limits = limits, .refusal = no_room}, visits, seen));
            EXPECT_EQ(seen.served, connections);
            EXPECT_EQ(seen.refused, visits - connections);
        }
    }
    for (const std::size_t refusals : {std::size_t{0}, std::size_t{1}, countless}) {
        counts seen;
        const coro::server_limits limits{.connections = countless, .refusals = refusals};
        simulate(visit({.limits = limits, .refusal = no_room},
                       visits, seen));
        EXPECT_EQ(seen.served, visits);
    }
}

// --- the end of the server

task<> close_after(net::tcp_stream& stream, coro::duration span) {
    co_await coro::sleep_for(span);
    stream.close();
}

/// One client is served, and `count` are refused and keep their ends open beyond the end of the
/// server; the one who is served leaves `left_after` after the stop.
task<> stop_beside_refused(std::size_t count, coro::duration left_after, coro::duration& took) {
    holding_server server;
    std::vector<net::tcp_stream> refused;
    net::tcp_stream served;
    const auto with_leaver = [&](coro::task_group& leaving) -> task<> {
        const auto body = [&]() -> task<> {
            served = co_await net::tcp_stream::connect(server.where);
            while (refused.size() < count) {
                refused.push_back(co_await net::tcp_stream::connect(server.where));
                std::string text;
                co_await read_until_end(refused.back(), text);
                EXPECT_EQ(text, no_room);
            }
            if (left_after == coro::duration::zero()) {
                served.close();
                while (server.active != 0) co_await coro::sleep_for(1ms);
            } else {
                leaving.spawn(close_after, std::ref(served), left_after);
            }
        };
        took = co_await server.run({.limits = {.connections = 1}, .refusal = no_room}, body);
    };
    co_await coro::with_task_group(with_leaver);
}

TEST_F(server_refusals_test, a_stop_does_not_wait_for_the_refused_who_keep_their_ends_open) {
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{5}}) {
        SCOPED_TRACE(count);
        coro::duration took{};
        simulate(stop_beside_refused(count, 0ms, took));
        EXPECT_EQ(took, 0ms);
    }
}

TEST_F(server_refusals_test, a_stop_waits_for_who_is_served_and_no_longer) {
    for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{5}}) {
        SCOPED_TRACE(count);
        coro::duration took{};
        simulate(stop_beside_refused(count, 700ms, took));
        EXPECT_EQ(took, 700ms);
    }
}

}  // namespace
}  // namespace coro_test
