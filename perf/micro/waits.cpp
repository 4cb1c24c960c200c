// What it costs to wait for time, for a thread, for a signal and for another loop, and what a
// shield, a scope and a clean-up add; nanoseconds.
#include <coro/coro.hpp>
#include <coro/runtime/channel.hpp>

#include <benchmark/benchmark.h>

#include <chrono>
#include <csignal>
#include <functional>

namespace {

using namespace std::chrono_literals;
using coro::poller_choice;

coro::task<> nothing() {
    co_return;
}
coro::task<int> leaf(int value) {
    co_return value;
}

/// The simulation never enters the kernel: the library's own work.
template <typename Body>
void simulated(benchmark::State& state, Body body) {
    coro::run(body(state), {.poller = poller_choice::simulation});
}

/// On one loop, and another beside it, over epoll.
template <typename Body>
void on_epoll(benchmark::State& state, Body body) {
    coro::run(body(state), {.poller = poller_choice::epoll, .loops = 2});
}

/// Arm a timer, wait, expire: its time jumps and is not waited for.
coro::task<> sleeps(benchmark::State& state) {
    for (auto _ : state)
        co_await coro::sleep_for(1s);
}

coro::task<> shields(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state)
        sum += co_await coro::shield(leaf(1));
    benchmark::DoNotOptimize(sum);
}

coro::task<> scopes(benchmark::State& state) {
    const auto body = [](coro::cancel_scope&) -> coro::task<int> { return leaf(1); };
    for (auto _ : state)
        benchmark::DoNotOptimize(co_await coro::with_cancel_scope(body));
}

coro::task<> cleanups(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state)
        sum += co_await coro::with_cleanup(leaf(1), nothing());
    benchmark::DoNotOptimize(sum);
}

/// To a thread of the pool and back.
coro::task<> blocking_calls(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state)
        sum += co_await coro::blocking([] { return 1; });
    benchmark::DoNotOptimize(sum);
}

/// A signal of this process, until the task that waits for it has it.
coro::task<> signals(benchmark::State& state) {
    coro::signal_set watched{SIGUSR1};
    for (auto _ : state) {
        std::raise(SIGUSR1);
        benchmark::DoNotOptimize(co_await watched.next());
    }
}

coro::task<> receive_all(coro::channel<int>& from, int& sum) {
    while (const auto item = co_await from.receive())
        sum += *item;
}

coro::task<> channel_between_loops(benchmark::State& state) {
    coro::channel<int> items(static_cast<std::size_t>(state.range(0)));
    int sum = 0;
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn({.loop = 1}, receive_all, std::ref(items), std::ref(sum));
        for (auto _ : state)
            co_await items.send(1);
        items.close();
    });
    benchmark::DoNotOptimize(sum);
}

coro::task<> lock_again_and_again(benchmark::State& state, coro::mutex& guard) {
    {
        const auto lock = co_await guard.lock();  // another loop's first one is a message
    }
    for (auto _ : state)
        const auto lock = co_await guard.lock();
}

/// The lock is free, and of the first loop.
coro::task<> mutex_between_loops(benchmark::State& state) {
    coro::mutex guard;
    const auto loop = static_cast<unsigned>(state.range(0));
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        if (loop == 0) {  // another loop has used it
            const auto use = [](coro::mutex& of) -> coro::task<> {
                const auto lock = co_await of.lock();
            };
            co_await coro::with_task_group([&](coro::task_group& before) -> coro::task<> {
                before.spawn({.loop = 1}, use, std::ref(guard));
                co_return;
            });
        }
        group.spawn({.loop = loop}, lock_again_and_again, std::ref(state), std::ref(guard));
    });
}

}  // namespace

BENCHMARK_CAPTURE(simulated, sleep, &sleeps);
BENCHMARK_CAPTURE(simulated, shield, &shields);
BENCHMARK_CAPTURE(simulated, with_cancel_scope, &scopes);
BENCHMARK_CAPTURE(simulated, with_cleanup, &cleanups);
BENCHMARK_CAPTURE(on_epoll, blocking, &blocking_calls)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK_CAPTURE(on_epoll, signal_next, &signals)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK_CAPTURE(on_epoll, channel_between_loops, &channel_between_loops)
    ->Arg(0)
    ->Arg(64)
    ->MeasureProcessCPUTime()
    ->UseRealTime();
BENCHMARK_CAPTURE(on_epoll, mutex_between_loops, &mutex_between_loops)->Arg(0)->Arg(1);
