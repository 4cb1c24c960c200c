// What happens when tasks share a connection, and what helps?
//
// Run:   build/debug/examples/tcp_truth shared_connection
//
// You see a slow request and three quick ones behind it, three times: on one connection in turn, on
// one connection without waiting for replies, and on the four connections of a pool.
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <coro/coro.hpp>
#include <coro/net/connection.hpp>
#include <coro/service/connection_pool.hpp>
#include <coro/service/shared_connection.hpp>

#include "questions.hpp"
#include "slow_server.hpp"

namespace tcp_truth::shared_connection {

using asking = std::function<coro::task<>(std::string)>;

coro::task<> exchange(coro::net::connection& with, std::string request) {
    co_await with.out.write(coro::as_bytes(request += "\n"));
    co_await with.out.flush();
    co_await with.in.read_until("\n");
}

/// One task asks slowly. When the server has its request, three others ask too.
coro::task<> ask_four(asking ask, slow_server& server, timeline& line) {
    const auto one = [&](std::string what) -> coro::task<> {
        if (what == "quick") co_await server.slow_began.wait();
        co_await ask(what);
        line.at("client", "the reply to a " + what + " request is there");
        server.was_answered(what);
    };
    std::vector<coro::task<>> all;
    for (const char* each : {"slow", "quick", "quick", "quick"})
        all.push_back(one(each));
    co_await coro::when_all(std::move(all));
}

coro::task<> in_turn(coro::net::endpoint where, slow_server& server, timeline& line) {
    coro::net::connection only(coro::net::stream(co_await coro::net::tcp_stream::connect(where)));
    coro::mutex turn;
    const auto ask = [&](std::string what) -> coro::task<> {
        const auto mine = co_await turn.lock();
        co_await exchange(only, std::move(what));
    };
    co_await ask_four(ask, server, line);
}

coro::task<> pipelined(coro::net::endpoint where, slow_server& server, timeline& line) {
    const auto connect = [where] { return coro::net::tcp_stream::connect(where); };
    using shared = coro::shared_connection<line_codec>;
    const auto body = [&](shared& connection) -> coro::task<> {
        const auto ask = [&](std::string what) -> coro::task<> {
            co_await connection.request(std::move(what));
        };
        co_await ask_four(ask, server, line);
    };
    co_await coro::with_shared_connection<line_codec>(connect, {}, body);
}

coro::task<> pooled(coro::net::endpoint where, slow_server& server, timeline& line) {
    using pool_of_four = coro::connection_pool<coro::net::connection>;
    const auto body = [&](pool_of_four& pool) -> coro::task<> {
        const auto ask = [&](std::string what) -> coro::task<> {
            const auto lease = co_await pool.acquire();
            co_await exchange(*lease, std::move(what));
        };
        co_await ask_four(ask, server, line);
    };
    co_await coro::with_connection_pool(coro::tcp_connector(where), {.max_size = 4}, body);
}

void answer(timeline& line) {
    line.at("client", "one connection, in turn");
    const request_log turns = ask_slow_server(slow_until::time_is_up, line, in_turn);
    line.holds("In turn, requests wait at the client: the server has not seen them.",
               turns.arrived_early == 1 && turns.order.front() == "slow");
    line.at("client", "one connection, all requests at once");
    const request_log pipe = ask_slow_server(slow_until::all_have_arrived, line, pipelined);
    line.holds("Pipelined, all requests are at the server before the first reply.",
               pipe.arrived_early == 4 && pipe.connections == 1);
    line.holds("Their replies still come in order: the slow one is first.",
               pipe.order.front() == "slow");
    line.at("client", "a pool of four connections");
    const request_log pool = ask_slow_server(slow_until::three_are_answered, line, pooled);
    line.holds("With a connection each the quick ones do not wait for the slow one.",
               pool.order.back() == "slow" && pool.connections == 4);
}

}  // namespace tcp_truth::shared_connection
