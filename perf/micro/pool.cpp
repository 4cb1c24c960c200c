// What a lease of a connection pool costs, whose connection is idle: on one loop, and where two
// loops lend from one pool at once; nanoseconds, acquire and give back together.
#include <coro/coro.hpp>
#include <coro/service/connection_pool.hpp>

#include <benchmark/benchmark.h>

#include <atomic>
#include <functional>

namespace {

using coro::poller_choice;

/// No socket: the pool's own work.
struct idle_thing {
    int number = 0;
};
using thing_pool = coro::connection_pool<idle_thing>;

coro::task<idle_thing> make_thing() {
    co_return idle_thing{};
}

coro::task<> lend(benchmark::State& state, thing_pool& pool) {
    for (auto _ : state) {
        const auto lease = co_await pool.acquire();
        benchmark::DoNotOptimize(lease->number);
    }
}

/// Lends until it is told to stop; so that the other loop has company.
coro::task<> lend_beside(thing_pool& pool, const std::atomic<bool>& ended) {
    while (!ended.load(std::memory_order_relaxed)) {
        for (int i = 0; i < 100; ++i) {
            const auto lease = co_await pool.acquire();
            benchmark::DoNotOptimize(lease->number);
        }
    }
}

void pool_lease(benchmark::State& state) {
    const auto body = [&](thing_pool& pool) -> coro::task<> { co_await lend(state, pool); };
    coro::run(coro::with_connection_pool(make_thing, {}, body), {.poller = poller_choice::epoll});
}

void pool_lease_beside_another_loop(benchmark::State& state) {
    const auto body = [&](thing_pool& pool) -> coro::task<> {
        std::atomic<bool> ended{false};
        const auto both = [&](coro::task_group& group) -> coro::task<> {
            group.spawn({.loop = 1}, lend_beside, std::ref(pool), std::cref(ended));
            co_await lend(state, pool);
            ended = true;
        };
        co_await coro::with_task_group(both);
    };
    coro::run(coro::with_connection_pool(make_thing, {}, body),
              {.poller = poller_choice::epoll, .loops = 2});
}

BENCHMARK(pool_lease)->Name("on_epoll/pool_lease");
BENCHMARK(pool_lease_beside_another_loop)
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->Name("on_epoll/pool_lease_of_two_loops");

}  // namespace
