// What connections cost: the same work by a connection for each request, by one that tasks take in
// turn, by pools, and by one on which requests follow each other without waiting.
//
// Run:   build/release/examples/pool_demo                  (6 s; with a server on a second loop)
//        build/release/examples/pool_demo --service 1 --svg costs.svg  (a request takes 1 ms)
//        CORO_POLLER=simulation build/release/examples/pool_demo --service 1     (virtual time)
// See:   a row for each way: connections opened and open at once, requests that were refused
//        because of the server's limit, requests a second, latency, and CPU time for one, that of
//        the server included. Then bars. All tasks ask again and again for the same time.
#include <coro/coro.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>

#include "arguments.hpp"
#include "cost_table.hpp"
#include "dear_server.hpp"
#include "pool_ways.hpp"

using endpoints = coro::channel<coro::net::endpoint>;

coro::task<> compare_beside_a_server(const dear_costs& costs, cost_table& table) {
    endpoints where{1};
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

std::string in_words(const dear_costs& costs, unsigned tasks) {
    const std::chrono::duration<double, std::milli> handshake = costs.handshake;
    const std::chrono::duration<double, std::milli> service = costs.service;
    char text[200];
    std::snprintf(text, sizeof text,
                  "%u tasks; a server with a greeting of %u round trips and %g ms, %g ms for a "
                  "request, and at most %zu connections",
                  tasks, costs.round_trips, handshake.count(), service.count(), costs.limit);
    return text;
}

coro::task<> show(dear_costs costs, cost_table& table, std::string told,
                  std::optional<std::string> svg) {
    if (svg) cost_table::check_writable(*svg);
    std::printf("%s\n\n", told.c_str());
    cost_table::print_heading();
    co_await compare_beside_a_server(costs, table);
    table.draw();
    if (!svg) co_return;
    table.write_svg(*svg, told);
    std::printf("\nThe picture is %s\n", svg->c_str());
}

int main(int argc, char** argv) {
    arguments given(argc, argv,
                    "pool_demo [--tasks N] [--seconds S] [--handshake MS] [--round-trips N] "
                    "[--service MS] [--limit N] [--svg FILE]");
    const unsigned tasks = given.count("--tasks", 32, 1, 500);
    const coro::duration span = given.span<std::chrono::seconds>("--seconds", 1, 0.01, 60);
    dear_costs costs;
    costs.handshake = given.span<std::chrono::milliseconds>("--handshake", 2, 0, 1000);
    costs.round_trips = given.count("--round-trips", 2, 1, 10);
    costs.service = given.span<std::chrono::milliseconds>("--service", 0, 0, 1000);
    costs.limit = given.count("--limit", 20, 1, 1000);
    const std::optional<std::string> svg = given.text("--svg", "a file to write");
    given.end();
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // each row as it is measured, also into a pipe
    cost_table table(tasks, span);
    // Looking before sleeping would count as a cost of the ways that wait.
    return coro::run_main(show(costs, table, in_words(costs, tasks), svg),
                          {.loops = 2, .spin = false});
}
