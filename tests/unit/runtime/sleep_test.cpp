// Time as a task sees it: sleeping, yielding, what remains.
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/this_task.hpp>

#include <string>

#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class sleep_test : public core_test {};

TEST_F(sleep_test, sleeps_the_span_in_virtual_time) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        co_await coro::sleep_for(24h);
        EXPECT_EQ(coro::now() - start, 24h);
        co_await coro::sleep_until(start + 25h);
        EXPECT_EQ(coro::now() - start, 25h);
    }());
}

TEST_F(sleep_test, a_span_counts_from_the_await_and_not_from_the_call) {
    simulate([]() -> coro::task<> {
        auto nap = coro::sleep_for(5ms);
        co_await coro::sleep_for(10ms);
        const auto start = coro::now();
        co_await nap;
        EXPECT_EQ(elapsed_ms(start), 5);
    }());
}

TEST_F(sleep_test, a_span_of_zero_or_less_lets_the_others_run_first) {
    simulate([]() -> coro::task<> {
        for (const coro::duration span : {coro::duration(0), coro::duration(-1h)}) {
            auto body = [span](coro::task_group& group) -> coro::task<> {
                bool ran = false;
                group.spawn([](bool& out) -> coro::task<> {
                    out = true;
                    co_return;
                }, std::ref(ran));
                co_await coro::sleep_for(span);
                EXPECT_TRUE(ran);
            };
            const auto start = coro::now();
            co_await coro::with_task_group(body);
            EXPECT_EQ(coro::now(), start);
        }
    }());
}

TEST_F(sleep_test, a_span_beyond_the_range_of_the_clock_never_ends) {
    simulate([]() -> coro::task<> {
        const auto ended = co_await coro::move_on_after(1h, coro::sleep_for(coro::duration::max()));
        EXPECT_FALSE(ended);
    }());
}

TEST_F(sleep_test, a_cancelled_sleep_leaves_no_timer) {
    simulate([]() -> coro::task<> {
        EXPECT_FALSE(co_await coro::move_on_after(1ms, coro::sleep_for(1h)));
        EXPECT_EQ(coro::current_loop_stats().timers_armed, 0u);
    }());
}

TEST_F(sleep_test, yield_lets_every_ready_task_run_once) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            std::string order;
            for (const char letter : {'a', 'b', 'c'})
                group.spawn([](std::string& to, char mine) -> coro::task<> {
                    to += mine;
                    co_await coro::yield();
                    to += mine;
                }, std::ref(order), letter);
            co_await coro::yield();
            EXPECT_EQ(order, "abc");
            co_await coro::yield();
            EXPECT_EQ(order, "abcabc");
        };
        co_await coro::with_task_group(body);
    }());
}

TEST_F(sleep_test, time_remaining_reads_the_nearest_deadline) {
    simulate([]() -> coro::task<> {
        EXPECT_EQ(coro::time_remaining(), coro::duration::max());
        EXPECT_EQ(coro::current_deadline(), coro::never);
        co_await coro::with_timeout(10s, []() -> coro::task<> {
            EXPECT_EQ(coro::time_remaining(), 10s);
            co_await coro::sleep_for(4s);
            EXPECT_EQ(coro::time_remaining(), 6s);
            EXPECT_EQ(coro::current_deadline(), coro::now() + 6s);
        }());
        EXPECT_EQ(coro::time_remaining(), coro::duration::max());
    }());
}

using sleep_death_test = sleep_test;

TEST_F(sleep_death_test, the_clock_belongs_to_a_loop) {
    EXPECT_DEATH((void)coro::now(), "this needs a running loop");
    EXPECT_DEATH((void)coro::stop_requested(), "this belongs into a task");
}

}  // namespace
}  // namespace coro_test
