// What the primitives cost: awaits, children, spawn and join, yield, hand-over; in nanoseconds.
#include <coro/coro.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>

#include <benchmark/benchmark.h>
#include <boost/context/fiber.hpp>

#include <chrono>
#include <functional>
#include <utility>

namespace {

coro::task<int> leaf(int value) {
    co_return value;
}
coro::task<int> three(int value) {
    co_return 1 + co_await leaf(value);
}
coro::task<int> two(int value) {
    co_return 1 + co_await three(value);
}
coro::task<> nothing() {
    co_return;
}

/// Runs `body(state)` inside of a loop. The simulation never enters the kernel, so that only the
/// library's own work is measured.
template <typename Body>
void in_a_loop(benchmark::State& state, Body body) {
    coro::run(body(state), {.poller = coro::poller_choice::simulation});
}

coro::task<> ready_awaits(benchmark::State& state) {
    coro::event happened;
    happened.set();
    for (auto _ : state)
        co_await happened.wait();
}

coro::task<> child_tasks(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state)
        sum += co_await leaf(1);
    benchmark::DoNotOptimize(sum);
}

coro::task<> three_nested(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state)
        sum += co_await two(1);
    benchmark::DoNotOptimize(sum);
}

coro::task<> spawn_and_join(benchmark::State& state) {
    const auto batch = state.range(0);
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        while (state.KeepRunningBatch(batch)) {
            for (std::int64_t i = 0; i < batch; ++i)
                group.spawn(nothing());
            while (group.size() != 0)
                co_await coro::yield();
        }
    });
    state.SetItemsProcessed(state.iterations());
}

coro::task<> yields(benchmark::State& state) {
    for (auto _ : state)
        co_await coro::yield();
}

coro::task<> yield_forever(const bool& ended) {
    while (!ended)
        co_await coro::yield();
}

coro::task<> yields_among(benchmark::State& state) {
    const auto others = state.range(0) - 1;
    bool ended = false;
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        for (std::int64_t i = 0; i < others; ++i)
            group.spawn(yield_forever, std::cref(ended));
        while (state.KeepRunningBatch(others + 1))
            co_await coro::yield();
        ended = true;
    });
}

coro::task<> receive_all(coro::channel<int>& from, int& sum) {
    while (auto item = co_await from.receive())
        sum += *item;
}

coro::task<> channel_hand_over(benchmark::State& state) {
    coro::channel<int> items(0);
    int sum = 0;
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn(receive_all, std::ref(items), std::ref(sum));
        for (auto _ : state)
            co_await items.send(1);
        items.close();
    });
    benchmark::DoNotOptimize(sum);
}

coro::task<> wait_and_reset(coro::event& happened, const bool& ended) {
    for (;;) {
        co_await happened.wait();
        if (ended) co_return;
        happened.reset();
    }
}

coro::task<> event_hand_over(benchmark::State& state) {
    coro::event happened;
    bool ended = false;
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn(wait_and_reset, std::ref(happened), std::cref(ended));
        for (auto _ : state) {
            happened.set();
            co_await coro::yield();  // the other one runs, and waits again
        }
        ended = true;
        happened.set();
    });
}

coro::task<> mutex_locks(benchmark::State& state) {
    coro::mutex guard;
    for (auto _ : state)
        const auto lock = co_await guard.lock();
}

coro::task<> semaphore_permits(benchmark::State& state) {
    coro::semaphore slots(1);
    for (auto _ : state)
        const auto permit = co_await slots.acquire();
}

coro::task<> both_of_two(benchmark::State& state) {
    for (auto _ : state)
        benchmark::DoNotOptimize(co_await coro::when_all(leaf(1), leaf(2)));
}

coro::task<> first_of_two(benchmark::State& state) {
    for (auto _ : state)
        benchmark::DoNotOptimize(co_await coro::when_any(leaf(1), leaf(2)));
}

coro::task<> timeouts(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state)
        sum += co_await coro::with_timeout(std::chrono::seconds(1), leaf(1));
    benchmark::DoNotOptimize(sum);
}

void raw_context_switch(benchmark::State& state) {
    boost::context::fiber other([](boost::context::fiber&& back) {
        for (;;)
            back = std::move(back).resume();
        return std::move(back);
    });
    for (auto _ : state)
        other = std::move(other).resume();
    state.SetItemsProcessed(2 * state.iterations());  // there and back
}

}  // namespace

BENCHMARK_CAPTURE(in_a_loop, ready_await, &ready_awaits);
BENCHMARK_CAPTURE(in_a_loop, child_task, &child_tasks);
BENCHMARK_CAPTURE(in_a_loop, three_nested_tasks, &three_nested);
BENCHMARK_CAPTURE(in_a_loop, spawn_and_join, &spawn_and_join)->Arg(1)->Arg(1000);
BENCHMARK_CAPTURE(in_a_loop, yield_alone, &yields);
BENCHMARK_CAPTURE(in_a_loop, yield_among, &yields_among)->Arg(64)->Arg(1000)->Arg(4000);
BENCHMARK_CAPTURE(in_a_loop, channel_hand_over, &channel_hand_over);
BENCHMARK_CAPTURE(in_a_loop, event_hand_over, &event_hand_over);
BENCHMARK_CAPTURE(in_a_loop, mutex_lock, &mutex_locks);
BENCHMARK_CAPTURE(in_a_loop, semaphore_acquire, &semaphore_permits);
BENCHMARK_CAPTURE(in_a_loop, when_all_of_two, &both_of_two);
BENCHMARK_CAPTURE(in_a_loop, when_any_of_two, &first_of_two);
BENCHMARK_CAPTURE(in_a_loop, with_timeout, &timeouts);
BENCHMARK(raw_context_switch);

BENCHMARK_MAIN();
