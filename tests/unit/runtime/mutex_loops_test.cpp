// A mutex that tasks of another loop have used: who waits for it is told, and comes.
#include <coro/runtime/mutex.hpp>

#include <algorithm>
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include <coro/core/as_result.hpp>
#include <coro/core/fiber.hpp>
#include <coro/core/when_any.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/runtime/mutex_contest.hpp"
#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

class mutex_of_loops : public ::testing::Test {
protected:
    mutex_of_loops() {
        const auto use = [](mutex& of) -> task<> { const auto lock = co_await of.lock(); };
        const auto main = [&]() -> task<> {
            co_await use(guard);
            const auto body = [&](task_group& group) -> task<> {
                group.spawn({.loop = 1}, use, std::ref(guard));
                co_return;
            };
            co_await with_task_group(body);
        };
        run(main(), {.loops = 2});
    }

    mutex guard;
    std::vector<int> order;
};

void lock_once_in_a_fiber(mutex& guard, int id, std::vector<int>& order) {
    const auto lock = await(guard.lock());
    order.push_back(id);
    await(sleep_for(1ms));
}

TEST_F(mutex_of_loops, is_granted_in_the_order_of_arrival) {
    simulate([&]() -> task<> {
        const auto body = [&](task_group& group) -> task<> {
            for (int id = 0; id < 6; ++id) {
                if (id % 2 == 0) group.spawn(lock_once, std::ref(guard), id, std::ref(order));
                else group.spawn(fiber(lock_once_in_a_fiber, std::ref(guard), id, std::ref(order)));
            }
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4, 5}));
        EXPECT_FALSE(guard.is_locked());
    });
}

/// A turn resumes at most 256, and messages come between turns.
task<> turn(int yields = 4096) {
    for (int i = 0; i < yields; ++i) co_await yield();
}

TEST_F(mutex_of_loops, who_was_passed_over_is_handed_it) {
    for (const bool tries : {false, true}) {
        SCOPED_TRACE(tries);
        order.clear();
        simulate([&]() -> task<> {
            const auto body = [&](task_group& group) -> task<> {
                auto lock = co_await guard.lock();
                group.spawn(lock_once, std::ref(guard), 1, std::ref(order));
                co_await turn();
                lock.unlock();  // the other one is told …
                if (tries) lock = guard.try_lock();
                else lock = co_await guard.lock();
                order.push_back(0);  // … and comes in vain
                co_await turn();
                lock.unlock();
                EXPECT_FALSE(guard.try_lock());  // it is on its way
                lock = co_await guard.lock();
                order.push_back(2);
            };
            co_await with_task_group(body);
            EXPECT_EQ(order, (std::vector{0, 1, 2}));
        });
    }
}

/// Two wait; the first is withdrawn that many yields after the lock got free. Passed over: somebody
/// has taken it before it could, and keeps it.
void withdraw_after(int yields, bool passed_over, mutex& guard, std::vector<int>& order) {
    simulate([&]() -> task<> {
        const auto body = [&](task_group& group) -> task<> {
            auto lock = co_await guard.lock();
            const auto impatient = [&](task_group& inner) -> task<> {
                inner.spawn(lock_once, std::ref(guard), 1, std::ref(order));
                co_await turn();
                group.spawn(lock_once, std::ref(guard), 2, std::ref(order));
                co_await turn();
                lock.unlock();
                if (passed_over) lock = co_await guard.lock();
                co_await turn(yields);
                inner.cancel();
                co_await turn();
            };
            const auto shielded = [&]() -> task<> { co_await with_task_group(impatient); };
            static_cast<void>(co_await as_result(shielded()));
            lock.unlock();
        };
        co_await with_task_group(body);
        EXPECT_FALSE(guard.is_locked());
        EXPECT_EQ(std::ranges::count(order, 2), 1);
        const int by_the_withdrawn = static_cast<int>(std::ranges::count(order, 1));
        EXPECT_LE(by_the_withdrawn, passed_over ? 0 : 1);
    });
}

/// The first moments are one yield apart, more than a turn has: among them is that in which it has
/// been told, and has not run yet.
TEST_F(mutex_of_loops, who_is_withdrawn_at_any_moment_leaves_it_to_the_next) {
    for (int moment = 0; moment < 40 * 64; moment += moment < 300 ? 1 : 64) {
        for (const bool passed_over : {false, true}) {
            SCOPED_TRACE(moment);
            order.clear();
            withdraw_after(moment, passed_over, guard, order);
        }
    }
}

TEST_F(mutex_of_loops, an_event_that_comes_first_leaves_it_to_the_next) {
    for (const bool event_first : {true, false}) {
        simulate([&]() -> task<> {
            event other;
            int events = 0;
            const auto either = [&]() -> task<> {
                const auto got = co_await when_any(guard.lock(), other.wait());
                events += got.index() == 1 ? 1 : 0;
            };
            const auto body = [&](task_group& group) -> task<> {
                auto lock = co_await guard.lock();
                group.spawn(std::ref(either));
                co_await turn();
                if (event_first) other.set();
                lock.unlock();
                if (!event_first) other.set();
                co_await turn();
            };
            co_await with_task_group(body);
            EXPECT_EQ(events, 1);  // who is told that it is free has nothing yet
            EXPECT_FALSE(guard.is_locked());
            EXPECT_TRUE(guard.try_lock());
        });
    }
}

TEST_F(mutex_of_loops, a_dump_names_the_wait) {
    simulate([&]() -> task<> {
        const auto body = [&](task_group& group) -> task<> {
            const auto lock = co_await guard.lock();
            group.spawn(lock_once, std::ref(guard), 1, std::ref(order));
            co_await turn();
            EXPECT_NE(dump_tasks().find("lock mutex"), std::string::npos);
            EXPECT_EQ(dump_tasks().find("of another loop"), std::string::npos);
        };
        co_await with_task_group(body);
    });
}

TEST_F(mutex_of_loops, one_that_is_always_free_starves_nobody) {
    simulate([&]() -> task<> {
        int rounds = 0;
        int seen = -1;
        const auto other = [](const int& counter, int& saw) -> task<> {
            saw = counter;
            co_return;
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(other, std::cref(rounds), std::ref(seen));
            for (; rounds < 1000; ++rounds) const auto lock = co_await guard.lock();
        };
        co_await with_task_group(body);
        EXPECT_GE(seen, 1);
        EXPECT_LE(seen, detail::inline_completions);
    });
}

TEST_F(mutex_of_loops, excludes_and_wakes_under_random_timeouts) {
    EXPECT_GT(contend_under_random_timeouts(guard), 250);
}

}  // namespace
}  // namespace coro
