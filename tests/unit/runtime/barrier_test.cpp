// barrier: rounds, who is the one, who drops out.
#include <coro/runtime/barrier.hpp>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/core/cancel_scope.hpp>
#include <coro/core/fiber.hpp>
#include <coro/core/when_any.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>
#include <random>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

TEST(barrier, lets_all_pass_together_round_after_round) {
    simulate([]() -> task<> {
        constexpr std::size_t parties = 4;
        barrier line(parties);
        std::vector<int> rounds(parties);
        int ones = 0;
        const auto runner = [&](std::size_t id) -> task<> {
            for (int round = 1; round <= 50; ++round) {
                co_await sleep_for(std::chrono::milliseconds((id * 7 + std::size_t(round)) % 5));
                rounds[id] = round;
                if (co_await line.arrive_and_wait()) ++ones;
                for (const int each : rounds) {
                    EXPECT_GE(each, round) << "one has not come";
                    EXPECT_LE(each, round + 1) << "one was too fast";
                }
            }
        };
        const auto body = [&](task_group& group) -> task<> {
            for (std::size_t id = 0; id < parties; ++id) group.spawn(std::cref(runner), id);
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_EQ(ones, 50) << "one a round";
        EXPECT_EQ(line.arrived(), 0u);
    });
}

TEST(barrier, who_is_cancelled_has_not_arrived) {
    simulate([]() -> task<> {
        barrier line(2);
        EXPECT_FALSE((co_await move_on_after(1ms, line.arrive_and_wait())).has_value());
        EXPECT_EQ(line.arrived(), 0u);
        std::vector<bool> ones;
        const auto come = [&]() -> task<> { ones.push_back(co_await line.arrive_and_wait()); };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(std::cref(come));
            co_await sleep_for(1ms);
            EXPECT_EQ(line.arrived(), 1u);
            group.spawn(std::cref(come));
        };
        co_await with_task_group(body);
        EXPECT_EQ(ones, (std::vector{true, false})) << "the last to come goes on at once";
    });
}

TEST(barrier, a_drop_ends_the_round_that_waits_for_no_other) {
    simulate([]() -> task<> {
        barrier line(3);
        std::vector<bool> ones;
        const auto come = [&]() -> task<> { ones.push_back(co_await line.arrive_and_wait()); };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(std::cref(come));
            group.spawn(std::cref(come));
            co_await sleep_for(1ms);
            EXPECT_TRUE(ones.empty());
            line.drop();
            co_await sleep_for(1ms);
            EXPECT_EQ(ones, (std::vector{true, false}));
            EXPECT_EQ(line.parties(), 2u);
            line.drop();
            EXPECT_TRUE(co_await line.arrive_and_wait()) << "alone";
            line.drop();
            EXPECT_EQ(line.parties(), 0u);
        };
        co_await with_task_group(body);
    });
}

TEST(barrier, goes_on_under_random_cancellation) {
    for (unsigned seed = 0; seed < 50; ++seed) {
        simulate([seed]() -> task<> {
            barrier line(3);
            std::mt19937 random(seed);
            unsigned passed = 0;
            unsigned ones = 0;
            const auto runner = [&](unsigned count) -> task<> {
                while (count != 0) {
                    const auto patience = std::chrono::microseconds(random() % 3000);
                    const auto one = co_await move_on_after(patience, line.arrive_and_wait());
                    if (!one.has_value()) continue;
                    --count;
                    ++passed;
                    ones += *one ? 1u : 0u;
                    co_await sleep_for(std::chrono::microseconds(random() % 500));
                }
                line.drop();
            };
            const auto body = [&](task_group& group) -> task<> {
                for (int id = 0; id < 3; ++id) group.spawn(std::cref(runner), 20u);
                co_return;
            };
            co_await with_task_group(body);
            EXPECT_EQ(passed, 60u);
            EXPECT_GE(ones, 20u) << "no round has more than three";
            EXPECT_LE(ones, 60u);
        });
    }
}

TEST(barrier, joins_tasks_of_several_loops) {
    const auto main = []() -> task<> {
        barrier line(4);
        const auto runner = [&]() -> task<> {
            for (int round = 0; round < 100; ++round)
                static_cast<void>(co_await line.arrive_and_wait());
            line.drop();
        };
        const auto body = [&](task_group& group) -> task<> {
            for (unsigned id = 0; id < 4; ++id)
                group.spawn({.loop = id % 2}, std::cref(runner));
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_EQ(line.parties(), 0u) << "the end of a task comes after its messages";
    };
    run(main(), {.loops = 2});
}

}  // namespace
}  // namespace coro
