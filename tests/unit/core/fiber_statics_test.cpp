// A fiber in the initialiser of a local static, as coro::checked_statics tells the loop of it: it
// may not wait there, and all else is as it was. tests/install/statics_test.py links that library.
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include <coro/core/fiber.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/local_task_group.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>

namespace coro_test {
namespace {

using coro::detail::static_begins;
using coro::detail::static_ends;

template <typename Body>
void simulate(Body body) {
    coro::run(coro::fiber(body), {.poller = coro::poller_choice::simulation});
}

constexpr const char* refusal = "coro::await in the initialiser of a local static: the next task";

TEST(fiber_statics_death_test, waiting_there_aborts_at_the_await) {
    EXPECT_DEATH(simulate([] {
        static_begins();
        coro::await(coro::yield());
    }), std::string("fiber_statics_test.cpp:.*") + refusal);
}

TEST(fiber_statics_death_test, waiting_behind_an_inner_one_aborts) {
    EXPECT_DEATH(simulate([] {
        static_begins();
        static_begins();
        static_ends();
        coro::await(coro::yield());
    }), refusal);
}

TEST(fiber_statics_death_test, a_local_group_there_aborts) {
    EXPECT_DEATH(simulate([] {
        static_begins();
        const coro::local_task_group group;
    }), "a local_task_group in the initialiser of a local static");
}

TEST(fiber_statics_test, behind_them_it_waits_as_before) {
    int waits = 0;
    simulate([&waits] {
        for (; waits < 3; ++waits) {
            static_begins();
            static_begins();
            static_ends();
            static_ends();
            coro::await(coro::yield());
        }
    });
    EXPECT_EQ(waits, 3);
}

TEST(fiber_statics_test, each_fiber_may_wait_behind_its_own) {
    int waits = 0;
    simulate([&waits] {
        coro::local_task_group group;
        for (int i = 0; i < 3; ++i) {
            group.spawn_fiber([&waits] {
                static_begins();
                static_ends();
                coro::await(coro::yield());
                ++waits;
            });
        }
        group.join();
    });
    EXPECT_EQ(waits, 3);
}

TEST(fiber_statics_test, those_of_tasks_and_of_no_loop_are_not_counted) {
    static_begins();
    static_ends();
    int waits = 0;
    const auto body = [&waits]() -> coro::task<> {
        static_begins();
        const auto inner = [&waits] {
            coro::await(coro::yield());
            ++waits;
        };
        co_await coro::fiber(inner);
        static_ends();
        co_await coro::fiber(inner);
    };
    coro::run(body(), {.poller = coro::poller_choice::simulation});
    EXPECT_EQ(waits, 2);
}

coro::task<> count(int& into) {
    ++into;
    co_return;
}

TEST(fiber_statics_test, what_is_spawned_there_may_refer_to_variables_of_the_fiber) {
    int counted = 0;
    simulate([&counted] {
        int of_the_fiber = 0;
        coro::local_task_group group;
        static_begins();
        group.spawn(count, std::ref(of_the_fiber));
        static_ends();
        group.join();
        counted = of_the_fiber;
    });
    EXPECT_EQ(counted, 1);
}

}  // namespace
}  // namespace coro_test
