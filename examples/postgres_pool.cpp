// SQL by lines: any number of clients, and a PostgreSQL server that sees a few sessions at most.
//
// Run:   build/debug/examples/postgres_pool 8090 host=/run/postgresql dbname=postgres
//        build/debug/examples/postgres_pool 8090 --max 2 --timeout 0.5 host=127.0.0.1 user=me
//                                             (PORT, 0: any free one; then words of libpq)
// Talk:  nc 127.0.0.1 8090, and type: select 6 * 7, null | select 1 / 0 | select pg_sleep(60)
// See:   `listening 127.0.0.1:8090`; nc answers: a line for each row, as `42 | NULL`, and `1 row`
//        error: query postgres /run/postgresql:5432: ERROR: division by zero (22012)
//        error: with_timeout of 30 s at postgres_pool.cpp:55: deadline exceeded
//        The server then stops the query too. A session that was ended fails the query of its
//        client alone. One that comes back with an open transaction is closed. But what a SET
//        changes, the next client meets. All that reach the port may do what the user may.
#include <coro/coro.hpp>
#include <coro/service/connection_pool.hpp>

#include <libpq-fe.h>

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>

#include "arguments.hpp"
#include "line_service.hpp"
#include "postgres_connection.hpp"
#include "postgres_connector.hpp"
#include "printable.hpp"

using coro::net::endpoint;
using session_pool = coro::connection_pool<postgres_connection>;

std::string show(const postgres_result& result) {
    std::string text;
    for (int row = 0; row < result.rows(); ++row) {
        for (int column = 0; column < result.columns(); ++column) {
            if (column > 0) text += " | ";
            const auto value = result.at(row, column);
            text += value ? printable(*value) : "NULL";
        }
        text += '\n';
    }
    return text + std::to_string(result.rows()) + (result.rows() == 1 ? " row" : " rows");
}

coro::task<postgres_result> ask(session_pool& sessions, std::string sql) {
    const auto held = co_await sessions.acquire();
    co_return co_await held->query(std::move(sql));
}

coro::task<> serve_sql(endpoint where, std::string to, std::size_t max, coro::duration timeout) {
    const postgres_connector connector(std::move(to));
    const auto body = [&](session_pool& sessions) -> coro::task<> {
        co_await serve_lines(where, [&](std::string line) -> coro::task<std::string> {
            co_return show(co_await coro::with_timeout(timeout, ask(sessions, std::move(line))));
        });
    };
    const coro::pool_options options{.name = "postgres", .max_size = max};
    co_await coro::with_connection_pool(connector, options, body);
}

/// Nothing wrong is found out by the first client.
bool is_understood(const std::string& to) {
    char* why = nullptr;
    PQconninfoOption* const words = PQconninfoParse(to.c_str(), &why);
    if (words == nullptr)
        std::fprintf(stderr, "postgres_pool: read \"%s\": %s", to.c_str(), why ? why : "\n");
    PQconninfoFree(words);
    PQfreemem(why);
    return words != nullptr;
}

int main(int argc, char** argv) {
    const char* const usage =
        "postgres_pool [PORT] [--max N] [--timeout SECONDS] [--loops N] [KEYWORD=VALUE]...";
    arguments given(argc, argv, usage);
    const auto max = static_cast<std::size_t>(given.number("--max", 4, 1, 1000));
    const std::chrono::duration<double> timeout(given.number("--timeout", 30, 0.001, 3600));
    const auto loops = static_cast<unsigned>(given.number("--loops", 1, 1, 64));
    const auto where = endpoint::loopback(given.port_to_listen("PORT", 8090));
    std::string to;
    for (const std::string& word : given.rest()) to += (to.empty() ? "" : " ") + word;
    if (!is_understood(to)) return 2;
    const auto span = std::chrono::duration_cast<coro::duration>(timeout);
    return coro::run_main(serve_sql(where, to, max, span), {.loops = loops});
}
