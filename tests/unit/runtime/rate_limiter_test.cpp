// rate_limiter: even rates, bursts, order, in virtual time.
#include <coro/runtime/rate_limiter.hpp>

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

TEST(rate_limiter, lets_a_burst_pass_and_then_an_even_rate) {
    simulate([]() -> task<> {
        rate_limiter limit({.tokens = 10, .per = 1s, .burst = 5});
        const time_point begin = now();
        for (int i = 0; i < 5; ++i) co_await limit.take();
        EXPECT_EQ(now(), begin) << "the burst";
        for (int i = 1; i <= 20; ++i) {
            co_await limit.take();
            EXPECT_GE(now() - begin, i * 100ms);
            EXPECT_LE(now() - begin, i * 100ms + 1ms);
        }
        co_await sleep_for(1h);
        int passed = 0;
        while (limit.try_take()) ++passed;
        EXPECT_EQ(passed, 5) << "no more than the burst is kept";
        co_await sleep_for(100ms);
        EXPECT_TRUE(limit.try_take());
        EXPECT_FALSE(limit.try_take());
    });
}

TEST(rate_limiter, a_large_request_is_not_overtaken) {
    simulate([]() -> task<> {
        rate_limiter limit({.tokens = 10, .per = 1s, .burst = 10});
        std::vector<int> order;
        const auto client = [&](int id, std::size_t amount) -> task<> {
            co_await limit.take(amount);
            order.push_back(id);
        };
        const auto body = [&](task_group& group) -> task<> {
            EXPECT_TRUE(limit.try_take(10));
            group.spawn(std::cref(client), 0, std::size_t{10});
            group.spawn(std::cref(client), 1, std::size_t{1});
            co_await sleep_for(900ms);
            EXPECT_TRUE(order.empty());
            EXPECT_FALSE(limit.try_take()) << "others wait";
            co_await group.join();
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{0, 1}));
    });
}

TEST(rate_limiter, who_is_cancelled_takes_nothing_and_lets_the_others_go) {
    simulate([]() -> task<> {
        rate_limiter limit({.tokens = 10, .per = 1s, .burst = 10});
        EXPECT_TRUE(limit.try_take(10));
        const time_point begin = now();
        const auto large = [&]() -> task<> {
            EXPECT_FALSE(co_await move_on_after(50ms, limit.take(10)));
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(std::cref(large));
            co_await yield();
            co_await limit.take(1);
            EXPECT_GE(now() - begin, 100ms);
            EXPECT_LE(now() - begin, 101ms);
        };
        co_await with_task_group(body);
    });
}

TEST(rate_limiter, never_lets_more_pass_than_its_rate_and_its_burst) {
    for (unsigned seed = 0; seed < 30; ++seed) {
        simulate([seed]() -> task<> {
            std::mt19937 random(seed);
            const std::size_t burst = 1 + random() % 20;
            rate_limiter limit({.tokens = 1000, .per = 1s, .burst = burst});
            const time_point begin = now();
            std::size_t passed = 0;
            const auto client = [&]() -> task<> {
                for (int i = 0; i < 50; ++i) {
                    const std::size_t amount = 1 + random() % burst;
                    const auto patience = std::chrono::microseconds(random() % 40'000);
                    if (co_await move_on_after(patience, limit.take(amount))) passed += amount;
                    const auto most = burst + static_cast<std::size_t>((now() - begin) / 1ms);
                    EXPECT_LE(passed, most);
                    if (random() % 4 == 0)
                        co_await sleep_for(std::chrono::microseconds(random() % 9'000));
                }
            };
            const auto body = [&](task_group& group) -> task<> {
                for (int id = 0; id < 4; ++id) group.spawn(std::cref(client));
                co_return;
            };
            co_await with_task_group(body);
            EXPECT_GT(passed, 50u);
        });
    }
}

TEST(rate_limiter, spans_and_bursts_of_all_sizes_are_counted_exactly) {
    simulate([]() -> task<> {
        rate_limiter quota({.tokens = 1, .per = duration::max(), .burst = 5});
        for (int i = 0; i < 5; ++i) EXPECT_TRUE(quota.try_take()) << i;
        EXPECT_FALSE(quota.try_take());
        EXPECT_FALSE(co_await move_on_after(std::chrono::hours(24 * 365), quota.take()));
        rate_limiter whole({.tokens = 1, .per = duration::max(), .burst = 5});
        EXPECT_TRUE(whole.try_take(5));
        EXPECT_FALSE(whole.try_take());
        rate_limiter vast({.tokens = 1, .per = std::chrono::hours::max(), .burst = SIZE_MAX});
        for (int i = 0; i < 3; ++i) EXPECT_TRUE(vast.try_take(1000)) << i;
        EXPECT_TRUE(vast.try_take(SIZE_MAX - 3000));
        EXPECT_FALSE(vast.try_take());
        rate_limiter fast({.tokens = 1'000'000'000, .per = 1s, .burst = 1});
        EXPECT_TRUE(fast.try_take());
        co_await fast.take();
    });
}

TEST(rate_limiter, is_full_in_a_run_whose_clock_is_earlier) {
    rate_limiter limit({.tokens = 1, .per = 1min, .burst = 2});
    simulate([&]() -> task<> {
        co_await sleep_for(1h);
        EXPECT_TRUE(limit.try_take(2));
        EXPECT_FALSE(limit.try_take());
    });
    simulate([&]() -> task<> {
        EXPECT_TRUE(limit.try_take(2));
        EXPECT_FALSE(limit.try_take());
        const time_point begin = now();
        co_await limit.take();
        EXPECT_GE(now() - begin, 1min);
        EXPECT_LE(now() - begin, 1min + 1ms);
    });
}

TEST(rate_limiter, is_shared_by_tasks_of_several_loops) {
    const auto main = []() -> task<> {
        rate_limiter limit({.tokens = 100'000, .per = 1s, .burst = 10});
        const time_point begin = now();
        const auto client = [&]() -> task<> {
            for (int i = 0; i < 100; ++i) co_await limit.take();
        };
        const auto body = [&](task_group& group) -> task<> {
            for (unsigned id = 0; id < 4; ++id)
                group.spawn({.loop = id % 2}, std::cref(client));
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_GE(now() - begin, 3ms) << "390 tokens at 10 us each, less a tick";
    };
    run(main(), {.loops = 2});
}

}  // namespace
}  // namespace coro
