// What connections cost: the same work by a connection for each request, by one that tasks take in
// turn, by pools, and by one on which requests follow each other without waiting.
//
// Run:   build/release/examples/pool_demo                  (6 s; with a server on a second loop)
//        build/release/examples/pool_demo --service 1 --svg costs.svg  (a request takes 1 ms)
//        CORO_POLLER=simulation build/release/examples/pool_demo --service 1     (virtual time)
//        build/release/examples/pool_demo --redis 127.0.0.1:6379
//        build/release/examples/pool_demo --postgres "host=/run/postgresql dbname=shop"
// See:   a row for each way: connections opened and open at once, requests that were refused
//        because of the server's limit, requests a second, latency, and CPU time for one. That has
//        the server in it, unless it is a database. Then bars. All tasks ask again and again for
//        the same time. PostgreSQL has no row for requests that follow each other.
#include <coro/coro.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

#include "arguments.hpp"
#include "cost_table.hpp"
#include "dear_server.hpp"
#include "pool_ways.hpp"
#ifdef POOL_DEMO_HAS_REDIS  // examples/CMakeLists.txt says it where the client library is there
#include "redis_demo.hpp"
#endif
#ifdef POOL_DEMO_HAS_POSTGRES
#include "postgres_demo.hpp"
#endif

/// All ways, against one server.
using comparison = std::function<coro::task<>(cost_table&)>;

coro::task<> show(comparison compare, cost_table& table, std::string told,
                  std::optional<std::string> svg) {
    if (svg) cost_table::check_writable(*svg);
    std::printf("%s\n\n", told.c_str());
    cost_table::print_heading();
    co_await compare(table);
    table.draw();
    if (!svg) co_return;
    table.write_svg(*svg, told);
    std::printf("\nThe picture is %s\n", svg->c_str());
}

comparison with_redis([[maybe_unused]] arguments& given, [[maybe_unused]] const std::string& text) {
#ifdef POOL_DEMO_HAS_REDIS
    const auto where = coro::net::endpoint::parse(text);
    if (!where) given.refuse("--redis", text, where.error().what());
    return [server = redis_demo{*where}](cost_table& table) { return compare_ways(server, table); };
#else
    given.refuse("--redis", text, "this program was built without hiredis");
#endif
}

comparison with_postgres([[maybe_unused]] arguments& given, const std::string& text) {
#ifdef POOL_DEMO_HAS_POSTGRES
    const postgres_demo server{postgres_connector(text)};
    return [server](cost_table& table) { return compare_ways(server, table); };
#else
    given.refuse("--postgres", text, "this program was built without libpq");
#endif
}

int main(int argc, char** argv) {
    arguments given(argc, argv,
                    "pool_demo [--tasks N] [--seconds S] [--handshake MS] [--round-trips N] "
                    "[--service MS] [--limit N] [--redis ADDRESS:PORT] [--postgres CONNINFO] "
                    "[--svg FILE]");
    const unsigned tasks = given.count("--tasks", 32, 1, 500);
    const coro::duration span = given.span<std::chrono::seconds>("--seconds", 1, 0.01, 60);
    const auto redis = given.text("--redis", "an address and a port");
    const auto postgres = given.text("--postgres", "a connection string of libpq");
    if (redis && postgres) given.refuse("--postgres", *postgres, "--redis names a server already");
    for (const char* name : {"--handshake", "--round-trips", "--service", "--limit"})
        if (const auto of = redis || postgres ? given.text(name, "left out") : std::nullopt)
            given.refuse(name, *of, "it is for the server of the program, not for a database");
    dear_costs costs;
    costs.handshake = given.span<std::chrono::milliseconds>("--handshake", 2, 0, 1000);
    costs.round_trips = given.count("--round-trips", 2, 1, 10);
    costs.service = given.span<std::chrono::milliseconds>("--service", 0, 0, 1000);
    costs.limit = given.count("--limit", 20, 1, 1000);
    const auto svg = given.text("--svg", "a file to write");
    given.end();

    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // each row as it is measured, also into a pipe
    std::string server = costs.in_words();
    comparison compare = [&costs](cost_table& t) { return compare_beside_a_server(costs, t); };
    if (redis) std::tie(server, compare) = std::pair("Redis", with_redis(given, *redis));
    if (postgres)
        std::tie(server, compare) = std::pair("PostgreSQL", with_postgres(given, *postgres));
    cost_table table(tasks, span);
    // Looking before sleeping would count as a cost of the ways that wait.
    return coro::run_main(show(compare, table, std::to_string(tasks) + " tasks; " + server, svg),
                          {.loops = 2, .spin = false});
}
