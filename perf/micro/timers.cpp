// The timer queue with a million timers alive: arm, cancel and re-arm at random, extend, expire.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include <coro/runtime/detail/timer.hpp>

#include "runtime/timer_queue.hpp"

namespace {

using namespace std::chrono_literals;
using coro::detail::timer_node;
using coro::detail::timer_queue;

constexpr std::size_t alive = 1'000'000;
constexpr coro::time_point start = coro::time_point(1h);

struct silent_timer : timer_node {
    silent_timer() noexcept : timer_node([](timer_node&) noexcept {}) {}
};

/// Deadlines as servers have them: 1 s to 61 s from now.
std::vector<coro::time_point> deadlines() {
    std::mt19937_64 random(1);
    std::vector<coro::time_point> all(alive);
    for (auto& one : all) {
        one = start + 1s + coro::duration(static_cast<std::int64_t>(random() % 60'000'000'000));
    }
    return all;
}

std::vector<std::uint32_t> random_order() {
    std::mt19937_64 random(2);
    std::vector<std::uint32_t> all(alive);
    for (auto& one : all) one = static_cast<std::uint32_t>(random() % alive);
    return all;
}

/// A million armed timers; they are disarmed at the end.
struct fixture {
    explicit fixture(bool armed) {
        if (!armed) return;
        for (std::size_t i = 0; i < alive; ++i) queue.arm(timers[i], when[i]);
    }
    ~fixture() { clear(); }
    void clear() {
        for (auto& timer : timers) queue.disarm(timer);
    }

    std::vector<coro::time_point> when = deadlines();
    std::vector<silent_timer> timers = std::vector<silent_timer>(alive);
    timer_queue queue{start};
};

/// In the order of memory, each timer out of the cache: mostly the price of the memory.
void timers_arm(benchmark::State& state) {
    fixture all(false);
    std::size_t i = 0;
    for (auto _ : state) {
        if (i == alive) {
            state.PauseTiming();
            all.clear();
            i = 0;
            state.ResumeTiming();
        }
        all.queue.arm(all.timers[i], all.when[i]);
        ++i;
    }
}
BENCHMARK(timers_arm)->Iterations(5 * alive);

/// A million alive, and those that are armed in the cache, as they are in a frame that has just
/// been entered: the price of the queue. Time is that of one batch.
void timers_arm_in_cache(benchmark::State& state) {
    fixture all(true);
    std::vector<silent_timer> batch(256);
    std::size_t next = 0;
    for (auto _ : state) {
        const auto begin = std::chrono::steady_clock::now();
        for (auto& timer : batch) {
            all.queue.arm(timer, all.when[next]);
            next = (next + 1) % alive;
        }
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        state.SetIterationTime(took.count());
        for (auto& timer : batch) all.queue.disarm(timer);
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch.size()));
}
BENCHMARK(timers_arm_in_cache)->UseManualTime()->Iterations(20'000);

void timers_cancel_and_rearm_random(benchmark::State& state) {
    fixture all(true);
    const std::vector<std::uint32_t> order = random_order();
    std::size_t i = 0;
    for (auto _ : state) {
        silent_timer& timer = all.timers[order[i]];
        all.queue.disarm(timer);
        all.queue.arm(timer, all.when[i]);
        if (++i == alive) i = 0;
    }
}
BENCHMARK(timers_cancel_and_rearm_random)->Iterations(5 * alive);

void timers_cancel_in_order(benchmark::State& state) {
    fixture all(true);
    std::size_t i = 0;
    for (auto _ : state) {
        all.queue.disarm(all.timers[i]);
        ++i;
    }
}
BENCHMARK(timers_cancel_in_order)->Iterations(alive);

/// One message on a connection that is in the cache anyway, a million others waiting.
void timers_extend(benchmark::State& state) {
    fixture all(true);
    coro::time_point later = start + 1h;
    std::size_t i = 0;
    for (auto _ : state) {
        later += 1us;
        timer_queue::extend(all.timers[i], later);
        i = (i + 1) % 64;
    }
}
BENCHMARK(timers_extend)->Iterations(20 * alive);

/// Per timer: cascades and firing, a millisecond at a time.
void timers_expire(benchmark::State& state) {
    for (auto _ : state) {
        state.PauseTiming();
        fixture all(true);
        coro::time_point now = start;
        state.ResumeTiming();
        while (all.queue.size() != 0) {
            now = all.queue.next_deadline();
            all.queue.expire(now, std::numeric_limits<std::size_t>::max());
        }
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(alive));
}
BENCHMARK(timers_expire)->Iterations(3)->Unit(benchmark::kMillisecond);

/// The same when all million are due at one instant.
void timers_expire_one_instant(benchmark::State& state) {
    for (auto _ : state) {
        state.PauseTiming();
        fixture all(false);
        for (auto& timer : all.timers) all.queue.arm(timer, start + 1min);
        state.ResumeTiming();
        while (all.queue.size() != 0) all.queue.expire(start + 1min, 1000);
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(alive));
}
BENCHMARK(timers_expire_one_instant)->Iterations(3)->Unit(benchmark::kMillisecond);

/// Spans under 10 ms: arm and cancel among a thousand in the precise queue.
void timers_near_arm_and_cancel(benchmark::State& state) {
    fixture all(false);
    std::mt19937_64 random(3);
    std::vector<coro::time_point> near(1024);
    for (auto& one : near) {
        one = start + coro::duration(static_cast<std::int64_t>(random() % 10'000'000));
    }
    std::size_t i = 0;
    for (auto _ : state) {
        silent_timer& timer = all.timers[i];
        all.queue.disarm(timer);
        all.queue.arm(timer, near[(i * 7 + 1) % near.size()]);
        i = (i + 1) % near.size();
    }
}
BENCHMARK(timers_near_arm_and_cancel);

/// What each turn of an idle-timer-only loop pays: nothing is due.
void timers_nothing_due(benchmark::State& state) {
    fixture all(true);
    coro::time_point now = start;
    for (auto _ : state) {
        now += 1ns;
        benchmark::DoNotOptimize(all.queue.expire(now, 1000));
        benchmark::DoNotOptimize(all.queue.next_deadline());
    }
}
BENCHMARK(timers_nothing_due);

}  // namespace
