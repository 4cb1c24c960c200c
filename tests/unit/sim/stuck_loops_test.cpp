// A seeded simulation of three loops in which nothing can happen any more: each run tells the same.
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <coro/coro.hpp>

namespace coro::sim_tests {
namespace {

using namespace std::chrono_literals;

run_options seeded_loops(std::uint64_t seed) {
    run_options how;
    how.poller = poller_choice::simulation;
    how.loops = 3;
    how.seed = seed;
    how.simulation = {.latency = 1ms, .latency_most = 20ms};
    return how;
}

/// Waits for one event and would set the other one.
task<> wait_and_set(event& first, event& then) {
    co_await first.wait();
    then.set();
}

/// On each loop: two tasks that wait for each other, and a timer that comes when it is due.
task<> wait_for_each_other(std::vector<duration>& slept) {
    const auto pair_of_loop = [&slept](std::size_t number) -> task<> {
        event left;
        event right;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn({.name = "left"}, wait_and_set, std::ref(left), std::ref(right));
            group.spawn({.name = "right"}, wait_and_set, std::ref(right), std::ref(left));
            const time_point begun = now();
            co_await sleep_for(std::chrono::milliseconds(10 + number));
            slept[number] = now() - begun;
        };
        co_await with_task_group(body);
    };
    const auto all = [&](task_group& group) -> task<> {
        for (std::size_t i = 0; i < 3; ++i)
            group.spawn({.loop = static_cast<unsigned>(i)}, std::ref(pair_of_loop), i);
        co_return;
    };
    co_await with_task_group(all);
}

std::string stuck_with(std::uint64_t seed) {
    std::vector<duration> slept(3);
    std::string dump;
    try {
        run(wait_for_each_other(slept), seeded_loops(seed));
    } catch (const simulation_stuck& stuck) {
        dump = stuck.what();
    }
    for (std::size_t i = 0; i < slept.size(); ++i)
        EXPECT_EQ(slept[i], std::chrono::milliseconds(10 + i)) << "loop " << i << ", seed " << seed;
    return dump;
}

TEST(stuck_loops_test, tasks_that_wait_for_each_other_are_told_with_the_same_dump_twice) {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        const std::string dump = stuck_with(seed);
        EXPECT_NE(dump.find("left"), std::string::npos) << dump;
        EXPECT_NE(dump.find("loop 2:"), std::string::npos) << dump;
        EXPECT_EQ(stuck_with(seed), dump) << "seed " << seed;
    }
}

}  // namespace
}  // namespace coro::sim_tests
