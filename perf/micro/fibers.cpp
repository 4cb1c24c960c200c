// What fibers cost: the switch, a wait, spawn and join, a call on a stack of its own; nanoseconds.
#include <coro/coro.hpp>
#include <coro/runtime/event.hpp>

#include <benchmark/benchmark.h>
#include <boost/context/detail/fcontext.hpp>

#include <array>
#include <cstddef>
#include <vector>

namespace {

namespace fcontext = boost::context::detail;

/// Runs `body(state)` as a fiber inside of a loop that never enters the kernel.
template <typename Body>
void in_a_fiber(benchmark::State& state, Body body) {
    coro::run(coro::fiber(body, std::ref(state)), {.poller = coro::poller_choice::simulation});
}

/// The jump that everything here is made of.
void raw_jump(benchmark::State& state) {
    std::vector<std::byte> stack(64 * 1024);
    fcontext::fcontext_t other =
        fcontext::make_fcontext(stack.data() + stack.size(), stack.size(),
                                [](fcontext::transfer_t from) {
                                    for (;;) from = fcontext::jump_fcontext(from.fctx, nullptr);
                                });
    for (auto _ : state) other = fcontext::jump_fcontext(other, nullptr).fctx;
    state.SetItemsProcessed(2 * state.iterations());  // there and back
}

/// Two switches and nothing else of the library: the fiber is resumed by hand.
class switch_pair final : public coro::detail::library_awaiter<switch_pair> {
public:
    bool try_now() const noexcept { return false; }
    bool start() noexcept {
        loop().next = strand().resume_point;  // resumed as soon as the loop is reached
        set_outcome(coro::detail::wait_outcome::done);
        return true;
    }
    void finish() const noexcept {}
    void cancel_wait() noexcept override {}
    void describe(coro::detail::text_sink&) const noexcept override {}
};
void fiber_switch(benchmark::State& state) {
    for (auto _ : state) coro::await(switch_pair());
    state.SetItemsProcessed(2 * state.iterations());  // to the loop and back
}

void fiber_yield(benchmark::State& state) {
    for (auto _ : state) coro::await(coro::yield());
}

void fiber_ready_await(benchmark::State& state) {
    coro::event happened;
    happened.set();
    for (auto _ : state) coro::await(happened.wait());
}

coro::task<int> leaf(int value) { co_return value; }

void fiber_awaits_child_task(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state) sum += coro::await(leaf(1));
    benchmark::DoNotOptimize(sum);
}

coro::task<> awaits_fibers(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state) sum += co_await coro::fiber([] { return 1; });
    benchmark::DoNotOptimize(sum);
}
void task_awaits_fiber(benchmark::State& state) {
    coro::run(awaits_fibers(state), {.poller = coro::poller_choice::simulation});
}

void fiber_spawn_and_join(benchmark::State& state) {
    const auto batch = state.range(0);
    coro::local_task_group group;
    while (state.KeepRunningBatch(batch)) {
        for (std::int64_t i = 0; i < batch; ++i) group.spawn_fiber([] {});
        while (group.size() != 0) coro::await(coro::yield());
    }
    group.join();
    state.SetItemsProcessed(state.iterations());
}

/// The same from a task, which waits for less.
coro::task<> spawn_and_join(benchmark::State& state) {
    const auto batch = state.range(0);
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        while (state.KeepRunningBatch(batch)) {
            for (std::int64_t i = 0; i < batch; ++i) group.spawn_fiber([] {});
            while (group.size() != 0) co_await coro::yield();
        }
    });
    state.SetItemsProcessed(state.iterations());
}
void task_spawns_fibers(benchmark::State& state) {
    coro::run(spawn_and_join(state), {.poller = coro::poller_choice::simulation});
}

/// All of a batch wait once, so that each has a stack of its own at the same time.
void fibers_that_wait(benchmark::State& state) {
    const auto batch = state.range(0);
    coro::local_task_group group;
    while (state.KeepRunningBatch(batch)) {
        for (std::int64_t i = 0; i < batch; ++i)
            group.spawn_fiber([] { coro::await(coro::yield()); });
        while (group.size() != 0) coro::await(coro::yield());
    }
    group.join();
    state.SetItemsProcessed(state.iterations());
}

void yield_until(const bool& ended) {
    while (!ended) coro::await(coro::yield());
}

/// Each of them is resumed in turn: what the memory of so many stacks costs.
void fiber_yields_among(benchmark::State& state) {
    const auto others = state.range(0) - 1;
    bool ended = false;
    coro::local_task_group group;
    for (std::int64_t i = 0; i < others; ++i) group.spawn_fiber(yield_until, std::cref(ended));
    while (state.KeepRunningBatch(others + 1)) coro::await(coro::yield());
    ended = true;
    group.join();
}

}  // namespace

BENCHMARK(raw_jump);
BENCHMARK_CAPTURE(in_a_fiber, switch, &fiber_switch);
BENCHMARK_CAPTURE(in_a_fiber, yield, &fiber_yield);
BENCHMARK_CAPTURE(in_a_fiber, yield_among, &fiber_yields_among)->Arg(64)->Arg(1000)->Arg(4000);
BENCHMARK_CAPTURE(in_a_fiber, ready_await, &fiber_ready_await);
BENCHMARK_CAPTURE(in_a_fiber, awaits_child_task, &fiber_awaits_child_task);
BENCHMARK(task_awaits_fiber);
BENCHMARK_CAPTURE(in_a_fiber, spawn_and_join, &fiber_spawn_and_join)->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK(task_spawns_fibers)->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK_CAPTURE(in_a_fiber, spawn_wait_and_join, &fibers_that_wait)->Arg(1)->Arg(100)->Arg(1000);
