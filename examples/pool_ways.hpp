// pool_ways: what pool_demo compares: ways of having connections to a server. A server is something
// with connect(connection_count&), which returns a connection with ask(number). For the last way it
// also has greet(), request(number) and a codec with check(number, reply).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include <coro/coro.hpp>
#include <coro/service/connection_pool.hpp>
#include <coro/service/shared_connection.hpp>

#include "connection_count.hpp"
#include "cost_table.hpp"
#include "dear_server.hpp"

template <typename Server>
coro::task<> connect_each_time(const Server& server, cost_table& table) {
    connection_count count;
    const auto ask = [&](unsigned number) -> coro::task<> {
        auto made = co_await server.connect(count);
        co_await made.ask(number);
    };
    co_await table.measure("a connection each time", count, ask);
}

template <typename Server>
coro::task<> take_turns(const Server& server, cost_table& table) {
    connection_count count;
    std::optional<typename Server::connection> made;
    coro::mutex turn;
    const auto ask = [&](unsigned number) -> coro::task<> {
        const auto lock = co_await turn.lock();
        if (!made) made.emplace(co_await server.connect(count));
        co_await made->ask(number);
    };
    co_await table.measure("one connection, in turn", count, ask);
}

template <typename Server>
coro::task<> borrow(const Server& server, cost_table& table, unsigned size) {
    connection_count count;
    const auto connect = [&] { return server.connect(count); };
    using pool_of = coro::connection_pool<typename Server::connection>;
    const auto body = [&](pool_of& pool) -> coro::task<> {
        const auto ask = [&](unsigned number) -> coro::task<> {
            const auto lease = co_await pool.acquire();
            co_await lease->ask(number);
        };
        co_await table.measure("a pool of " + std::to_string(size), count, ask);
    };
    co_await coro::with_connection_pool(connect, {.max_size = size}, body);
}

template <typename Server>
coro::task<> share(const Server& server, cost_table& table) {
    connection_count count;
    std::optional<counted> open;
    const auto connect = [&]() -> coro::task<coro::net::stream> {
        auto made = co_await server.greet();
        open.emplace(count);
        co_return made;
    };
    using codec = typename Server::codec;
    const auto body = [&](coro::shared_connection<codec>& shared) -> coro::task<> {
        const auto ask = [&](unsigned number) -> coro::task<> {
            const auto reply = co_await shared.request(Server::request(number));
            codec::check(number, reply);
        };
        co_await table.measure("one shared, pipelined", count, ask);
    };
    co_await coro::with_shared_connection<codec>(connect, {}, body);
}

/// Until the server has seen that the connections of the last way are closed.
inline coro::task<> settle() { co_await coro::sleep_for(std::chrono::milliseconds(20)); }

template <typename Server>
coro::task<> compare_ways(const Server& server, cost_table& table) {
    co_await connect_each_time(server, table);
    co_await settle();
    co_await take_turns(server, table);
    for (const unsigned size : {1u, 4u, 16u}) {
        co_await settle();
        co_await borrow(server, table, size);
    }
    if constexpr (requires { &Server::greet; }) {
        co_await settle();
        co_await share(server, table);
    }
}

/// The server has a loop of its own.
inline coro::task<> compare_beside_a_server(const dear_costs& costs, cost_table& table) {
    coro::channel<coro::net::endpoint> where{1};
    const auto both = [&](coro::task_group& group) -> coro::task<> {
        group.spawn({.name = "server", .loop = 1}, serve_dearly, std::cref(costs), std::ref(where));
        if (const auto server = co_await where.receive()) {
            const dear_client client{*server, costs};
            co_await compare_ways(client, table);
        }
        group.cancel();
    };
    co_await coro::with_task_group(both);
}
