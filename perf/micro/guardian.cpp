// What a part of a conversation costs a message that says so to the guardian of its connection.
#include <coro/coro.hpp>

#include <benchmark/benchmark.h>

namespace {

void guardian_header_and_transfer(benchmark::State& state) {
    const auto body = [&]() -> coro::task<> {
        auto ends = coro::net::memory_stream::pair();
        coro::net::guardian guardian(coro::net::guardian_limits{});
        coro::net::guardian::watch watch = guardian.watch_over(ends.first);
        coro::net::guarded guard(watch);
        for (auto _ : state) {
            {
                const auto header = guard.header();
                benchmark::DoNotOptimize(&header);
            }
            const auto transfer = guard.transfer();
            benchmark::DoNotOptimize(&transfer);
        }
        co_return;
    };
    coro::run(body(), {.poller = coro::poller_choice::epoll});
}

}  // namespace

BENCHMARK(guardian_header_and_transfer)
    ->Name("on_epoll/guardian_header_and_transfer")
    ->MeasureProcessCPUTime()
    ->UseRealTime();
