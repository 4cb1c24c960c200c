// latch: counted down, by whom and where.
#include <coro/runtime/latch.hpp>

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
#include <coro/runtime/barrier.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

task<> pass_latch(latch& gate, int id, std::vector<int>& order) {
    co_await gate.wait();
    order.push_back(id);
}

TEST(latch, lets_all_pass_in_order_at_0_and_from_then_on) {
    simulate([]() -> task<> {
        latch gate(3);
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            for (int id = 0; id < 3; ++id)
                group.spawn(pass_latch, std::ref(gate), id, std::ref(order));
            co_await yield();
            gate.count_down();
            gate.count_down(0);
            co_await yield();
            EXPECT_TRUE(order.empty());
            EXPECT_FALSE(gate.is_open());
            gate.count_down(2);
            EXPECT_TRUE(order.empty()) << "nobody is resumed in place";
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{0, 1, 2}));
        EXPECT_TRUE(gate.is_open());
        co_await gate.wait();
    });
}

TEST(latch, of_0_is_open) {
    simulate([]() -> task<> {
        latch gate(0);
        co_await gate.wait();
        co_await gate.arrive_and_wait(0);
    });
}

TEST(latch, a_cancelled_wait_leaves_the_count_and_the_others_alone) {
    simulate([]() -> task<> {
        latch gate(2);
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(pass_latch, std::ref(gate), 1, std::ref(order));
            co_await yield();
            EXPECT_FALSE(co_await move_on_after(1ms, gate.wait()));
            EXPECT_FALSE(co_await move_on_after(1ms, gate.arrive_and_wait())) << "it has counted";
            gate.count_down();
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{1}));
    });
}

TEST(latch, two_waits_of_one_task_are_granted_as_one) {
    simulate([]() -> task<> {
        latch gate(1);
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            const auto both = [&]() -> task<> {
                static_cast<void>(co_await when_any(gate.wait(), gate.wait()));
                order.push_back(0);
            };
            group.spawn({.closure_is_kept = true}, both());
            group.spawn(pass_latch, std::ref(gate), 1, std::ref(order));
            co_await yield();
            co_await yield();
            gate.count_down();
            co_await group.join();
        };
        co_await with_task_group(body);
        EXPECT_EQ(order.size(), 2u);
    });
}

TEST(latch, nothing_that_comes_from_another_loop_changes_nothing) {
    const auto main = []() -> task<> {
        latch gate(2);
        barrier line(2);
        const auto count = [&]() -> task<> {
            for (int i = 0; i < 100; ++i) {
                gate.count_down(0);
                line.drop(0);
            }
            gate.count_down(0);
            gate.count_down(1);
            gate.count_down(0);
            gate.count_down(1);
            line.drop(0);
            line.drop(1);
            co_return;
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, std::cref(count));
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_TRUE(gate.is_open());
        EXPECT_EQ(line.parties(), 1u);
    };
    run(main(), {.loops = 2});
}

TEST(latch, counts_what_comes_from_other_loops_and_from_fibers) {
    const auto main = []() -> task<> {
        latch gate(6);
        int passed = 0;
        const auto arrive = [&]() -> task<> { co_await gate.arrive_and_wait(); };
        const auto body = [&](task_group& group) -> task<> {
            for (unsigned loop = 0; loop < 4; ++loop)
                group.spawn({.loop = loop % 2}, std::cref(arrive));
            group.spawn(fiber([&] {
                await(gate.arrive_and_wait(2));
                ++passed;
            }));
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_EQ(passed, 1);
        EXPECT_TRUE(gate.is_open());
    };
    run(main(), {.loops = 2});
}

}  // namespace
}  // namespace coro
