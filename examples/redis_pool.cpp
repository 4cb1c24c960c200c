// Strings and counters of a Redis server for clients that speak lines, over a few connections.
//
// Run:   build/debug/examples/redis_pool 8089 6379       (PORT REDIS_PORT; 0 as PORT: any free one)
//        beside `redis-server --port 6379`
//        build/debug/examples/redis_pool 8089 6379 --shared     (one connection for all clients)
// Talk:  nc 127.0.0.1 8089, and type: SET colour green | GET colour | INCR visits | GET taste
// See:   `listening 127.0.0.1:8089`; nc answers: OK | green | 1 | (nil)
//        It has --max connections open at most, or one with --shared. A client whose reply
//        is late by --timeout is told so, and nobody else gets that reply. When Redis goes away,
//        all that wait are told the cause, behind `error: `; once it is back all goes on.
#include <coro/coro.hpp>
#include <coro/service/connection_pool.hpp>
#include <coro/service/shared_connection.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "arguments.hpp"
#include "line_service.hpp"
#include "printable.hpp"
#include "redis_connection.hpp"

using coro::net::endpoint;

/// Others, such as MULTI, would leave a state on the connection that the next client would meet.
constexpr std::array commands = {"GET", "SET", "INCR", "DEL", "ECHO"};

/// A blank ends the name, and the key of a SET; what is behind them is one word.
redis_command parse(std::string_view line) {
    const std::string_view name = line.substr(0, line.find(' '));
    if (std::find(commands.begin(), commands.end(), name) == commands.end())
        throw std::invalid_argument("say: SET KEY VALUE, GET KEY, INCR KEY, DEL KEY, ECHO TEXT");
    redis_command words;
    for (int cuts = name == "SET" ? 2 : 1; cuts > 0 && line.find(' ') != line.npos; --cuts) {
        words.emplace_back(line.substr(0, line.find(' ')));
        line.remove_prefix(words.back().size() + 1);
    }
    words.emplace_back(line);
    return words;
}

std::string show(const redis_reply& reply) {
    const redisReply& value = reply.value();
    if (value.type == REDIS_REPLY_NIL) return "(nil)";
    if (value.type == REDIS_REPLY_INTEGER) return std::to_string(value.integer);
    return printable(reply.text());
}

struct options {
    endpoint where;
    redis_connector server;
    coro::duration timeout;
};

coro::task<> serve_pool(const options& chosen, std::size_t max) {
    const auto body = [&](coro::connection_pool<redis_connection>& servers) -> coro::task<> {
        const auto ask = [&](redis_command what) -> coro::task<redis_reply> {
            const auto held = co_await servers.acquire();
            co_return co_await held->ask(std::move(what));
        };
        co_await serve_lines(chosen.where, [&](std::string line) -> coro::task<std::string> {
            co_return show(co_await coro::with_timeout(chosen.timeout, ask(parse(line))));
        });
    };
    co_await coro::with_connection_pool(chosen.server, {.name = "redis", .max_size = max}, body);
}

coro::task<> serve_shared(const options& chosen) {
    const auto connect = [&] { return chosen.server.stream(); };
    const auto body = [&](coro::shared_connection<redis_codec>& server) -> coro::task<> {
        co_await serve_lines(chosen.where, [&](std::string line) -> coro::task<std::string> {
            auto request = server.request(parse(line));
            co_return show(co_await coro::with_timeout(chosen.timeout, std::move(request)));
        });
    };
    co_await coro::with_shared_connection<redis_codec>(connect, {}, body);
}

int main(int argc, char** argv) {
    const char* const usage =
        "redis_pool [PORT] [REDIS_PORT] [--max N] [--timeout SECONDS] [--loops N] [--shared]";
    arguments given(argc, argv, usage);
    const bool shared = given.flag("--shared");
    const auto max = static_cast<std::size_t>(given.number("--max", 4, 1, 1000));
    const std::chrono::duration<double> limit(given.number("--timeout", 5, 0.001, 3600));
    const auto loops = static_cast<unsigned>(given.number("--loops", 1, 1, 64));
    const auto where = endpoint::loopback(given.port_to_listen("PORT", 8089));
    const auto server = endpoint::loopback(given.port_to_connect("REDIS_PORT", 6379));
    given.end();
    const options chosen{where, redis_connector(server),
                         std::chrono::duration_cast<coro::duration>(limit)};
    return coro::run_main(shared ? serve_shared(chosen) : serve_pool(chosen, max),
                          {.loops = loops});
}
