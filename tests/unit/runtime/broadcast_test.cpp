// broadcast: each item to every reader, and how many one has missed.
#include <coro/runtime/broadcast.hpp>

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

TEST(broadcast, every_reader_gets_each_item_from_its_subscription_on) {
    simulate([]() -> task<> {
        broadcast<std::string> news(8);
        auto early = news.subscribe();
        news.send("one");
        auto late = news.subscribe();
        news.send("two");
        news.close();
        news.send("three");
        const auto first = co_await early.receive();
        EXPECT_EQ(*first->item, "one");
        EXPECT_EQ(first->missed, 0u);
        EXPECT_EQ(*(co_await early.receive())->item, "two");
        EXPECT_EQ(*(co_await late.receive())->item, "two");
        EXPECT_FALSE((co_await early.receive()).has_value());
        EXPECT_FALSE((co_await late.receive()).has_value());
    });
}

TEST(broadcast, a_reader_that_is_behind_is_told_how_many_it_has_missed) {
    simulate([]() -> task<> {
        broadcast<int> news(4);
        auto slow = news.subscribe();
        for (int i = 0; i < 10; ++i) news.send(i);
        const auto next = co_await slow.receive();
        EXPECT_EQ(next->missed, 6u);
        EXPECT_EQ(*next->item, 6);
        for (int i = 7; i < 10; ++i) {
            const auto one = co_await slow.receive();
            EXPECT_EQ(one->missed, 0u);
            EXPECT_EQ(*one->item, i);
        }
        EXPECT_FALSE((co_await move_on_after(1ms, slow.receive())).has_value());
    });
}

TEST(broadcast, a_cancelled_receive_takes_nothing) {
    simulate([]() -> task<> {
        broadcast<int> news(4);
        auto mine = news.subscribe();
        EXPECT_FALSE((co_await move_on_after(1ms, mine.receive())).has_value());
        news.send(5);
        EXPECT_EQ(*(co_await mine.receive())->item, 5);
    });
}

TEST(broadcast, what_is_received_and_what_is_missed_add_up_under_random_schedules) {
    for (unsigned seed = 0; seed < 30; ++seed) {
        simulate([seed]() -> task<> {
            std::mt19937 random(seed);
            broadcast<int> news(1 + random() % 8);
            constexpr int count = 200;
            const auto reading = [&](broadcast<int>::reader mine) -> task<> {
                std::uint64_t sum = 0;
                int last = -1;
                for (;;) {
                    const auto patience = std::chrono::microseconds(random() % 500);
                    const auto got = co_await move_on_after(patience, mine.receive());
                    if (!got.has_value()) continue;
                    if (!got->has_value()) break;
                    sum += (*got)->missed + 1;
                    EXPECT_EQ(*(*got)->item, last + 1 + static_cast<int>((*got)->missed));
                    last = *(*got)->item;
                    if (random() % 8 == 0) co_await sleep_for(2ms);
                }
                EXPECT_EQ(sum, static_cast<std::uint64_t>(count));
            };
            const auto body = [&](task_group& group) -> task<> {
                for (int id = 0; id < 3; ++id)
                    group.spawn(std::cref(reading), news.subscribe());
                for (int i = 0; i < count; ++i) {
                    news.send(i);
                    if (random() % 2 == 0)
                        co_await sleep_for(std::chrono::microseconds(random() % 300));
                }
                news.close();
            };
            co_await with_task_group(body);
        });
    }
}

TEST(broadcast, items_come_to_other_loops_and_from_them_in_order) {
    const auto main = []() -> task<> {
        broadcast<int> news(16);
        const auto reading = [&](broadcast<int>::reader mine) -> task<> {
            std::uint64_t sum = 0;
            int last = -1;
            while (const auto got = co_await mine.receive()) {
                sum += got->missed + 1;
                EXPECT_GT(*got->item, last);
                last = *got->item;
            }
            EXPECT_EQ(sum, 300u);
        };
        const auto writing = [&]() -> task<> {
            for (int i = 0; i < 300; ++i) news.send(i);
            news.close();
            co_return;
        };
        const auto body = [&](task_group& group) -> task<> {
            for (unsigned id = 0; id < 4; ++id)
                group.spawn({.loop = id % 2}, std::cref(reading), news.subscribe());
            group.spawn({.loop = 1}, std::cref(writing));
            co_return;
        };
        co_await with_task_group(body);
    };
    run(main(), {.loops = 2});
}

}  // namespace
}  // namespace coro
