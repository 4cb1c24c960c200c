// ticker: no drift, and what becomes of missed ticks.
#include <coro/runtime/ticker.hpp>

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

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

TEST(ticker, does_not_drift_whatever_the_work_takes) {
    simulate([]() -> task<> {
        const time_point begin = now();
        ticker every(100ms);
        for (int i = 1; i <= 50; ++i) {
            EXPECT_EQ(every.due(), begin + i * 100ms);
            EXPECT_EQ(co_await every.next(), 1u);
            EXPECT_GE(now() - begin, i * 100ms);
            EXPECT_LE(now() - begin, i * 100ms + 1ms);
            co_await sleep_for(std::chrono::milliseconds(i * 13 % 90));
        }
    });
}

TEST(ticker, missed_ticks_are_counted_made_up_for_or_begin_anew) {
    simulate([]() -> task<> {
        const time_point begin = now();
        ticker skips(100ms);
        ticker bursts(100ms, missed_ticks::burst);
        ticker delays(100ms, missed_ticks::delay);
        co_await sleep_for(350ms);
        EXPECT_EQ(co_await skips.next(), 3u);
        EXPECT_EQ(skips.due(), begin + 400ms);
        for (int i = 1; i <= 3; ++i) {
            EXPECT_EQ(co_await bursts.next(), 1u);
            EXPECT_EQ(bursts.due(), begin + (i + 1) * 100ms);
        }
        const time_point late = now();
        EXPECT_EQ(co_await delays.next(), 1u);
        EXPECT_GE(delays.due(), late + 100ms);
        EXPECT_LE(delays.due(), late + 101ms);
    });
}

TEST(ticker, a_cancelled_wait_leaves_the_tick_to_come) {
    simulate([]() -> task<> {
        const time_point begin = now();
        ticker every(100ms);
        EXPECT_FALSE((co_await move_on_after(30ms, every.next())).has_value());
        EXPECT_EQ(co_await every.next(), 1u);
        EXPECT_GE(now() - begin, 100ms);
        EXPECT_LE(now() - begin, 101ms);
    });
}

}  // namespace
}  // namespace coro
