// condition_variable: no wake-up is lost, and the lock is always held after it.
#include <coro/runtime/condition_variable.hpp>

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
#include <algorithm>
#include <deque>
#include <random>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

struct numbers {
    mutex guard;
    condition_variable changed;
    std::deque<int> queue;
    std::vector<int> taken;

    task<> take_one() {
        auto lock = co_await guard.lock();
        co_await changed.wait(lock, [this] { return !queue.empty(); });
        EXPECT_TRUE(lock);
        taken.push_back(queue.front());
        queue.pop_front();
    }
    task<> put(int number) {
        const auto lock = co_await guard.lock();
        queue.push_back(number);
        changed.notify_one();
    }
};

TEST(condition_variable, wakes_one_at_a_time_in_the_order_of_arrival) {
    simulate([]() -> task<> {
        mutex guard;
        condition_variable changed;
        std::vector<int> order;
        const auto waiter = [&](int id) -> task<> {
            auto lock = co_await guard.lock();
            co_await changed.wait(lock);
            EXPECT_TRUE(lock);
            order.push_back(id);
        };
        const auto body = [&](task_group& group) -> task<> {
            for (int id = 0; id < 4; ++id) group.spawn(std::cref(waiter), id);
            co_await sleep_for(1ms);
            EXPECT_FALSE(guard.is_locked()) << "a wait unlocks";
            changed.notify_one();
            co_await sleep_for(1ms);
            EXPECT_EQ(order, (std::vector{0}));
            changed.notify_all();
            co_await group.join();
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
        changed.notify_one();
        changed.notify_all();  // nobody: no memory of it
    });
}

TEST(condition_variable, a_cancelled_wait_holds_the_lock_again) {
    simulate([]() -> task<> {
        mutex guard;
        condition_variable changed;
        auto lock = co_await guard.lock();
        EXPECT_FALSE(co_await move_on_after(1ms, changed.wait(lock)));
        EXPECT_TRUE(lock);

        // Also where another holds it at that moment.
        const auto holder = [&]() -> task<> {
            const auto held = co_await guard.lock();
            co_await sleep_for(50ms);
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(std::cref(holder));
            const time_point begin = now();
            EXPECT_FALSE(co_await move_on_after(1ms, changed.wait(lock)));
            EXPECT_TRUE(lock);
            EXPECT_GE(now() - begin, 50ms);
        };
        co_await with_task_group(body);
    });
}

TEST(condition_variable, a_wait_of_a_cancelled_task_does_not_even_unlock) {
    simulate([]() -> task<> {
        mutex guard;
        condition_variable changed;
        bool tried = false;
        const auto waiter = [&]() -> task<> {
            auto lock = guard.try_lock();
            try {
                co_await changed.wait(lock);
            } catch (const cancelled&) {
                tried = true;
                EXPECT_TRUE(lock);
                throw;
            }
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(std::cref(waiter));
            group.cancel();
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_TRUE(tried);
        EXPECT_FALSE(guard.is_locked());
    });
}

TEST(condition_variable, no_number_is_lost_or_doubled_under_random_cancellation) {
    for (unsigned seed = 0; seed < 50; ++seed) {
        simulate([seed]() -> task<> {
            numbers all;
            std::mt19937 random(seed);
            int put = 0;
            const auto taker = [&]() -> task<> {
                for (int i = 0; i < 30; ++i)
                    co_await move_on_after(std::chrono::microseconds(random() % 900),
                                           all.take_one());
            };
            const auto putter = [&]() -> task<> {
                for (int i = 0; i < 40; ++i) {
                    co_await all.put(put++);
                    co_await sleep_for(std::chrono::microseconds(random() % 500));
                }
            };
            const auto body = [&](task_group& group) -> task<> {
                for (int id = 0; id < 4; ++id) group.spawn(std::cref(taker));
                group.spawn(std::cref(putter));
                co_return;
            };
            co_await with_task_group(body);
            while (!all.queue.empty()) co_await all.take_one();
            EXPECT_EQ(all.taken.size(), 40u);
            EXPECT_TRUE(std::ranges::is_sorted(all.taken));
        });
    }
}

TEST(condition_variable, joins_tasks_of_several_loops) {
    const auto main = []() -> task<> {
        numbers all;
        const auto taker = [&]() -> task<> {
            for (int i = 0; i < 100; ++i) co_await all.take_one();
        };
        const auto putter = [&]() -> task<> {
            for (int i = 0; i < 100; ++i) co_await all.put(i);
        };
        const auto body = [&](task_group& group) -> task<> {
            for (unsigned id = 0; id < 4; ++id) {
                group.spawn({.loop = id % 2}, std::cref(taker));
                group.spawn({.loop = (id + 1) % 2}, std::cref(putter));
            }
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_TRUE(all.queue.empty());
        EXPECT_EQ(all.taken.size(), 400u);
    };
    run(main(), {.loops = 2});
}

}  // namespace
}  // namespace coro
