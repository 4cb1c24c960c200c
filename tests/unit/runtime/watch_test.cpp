// watch: the latest value, for each reader once.
#include <coro/runtime/watch.hpp>

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

TEST(watch, a_reader_gets_the_value_that_is_there_and_then_the_latest) {
    simulate([]() -> task<> {
        watch<std::string> current("one");
        watch<std::string>::reader seen(current);
        EXPECT_EQ(*co_await seen.next(), "one");
        EXPECT_FALSE((co_await move_on_after(1ms, seen.next())).has_value());
        current.set("two");
        current.set("three");
        EXPECT_EQ(*current.get(), "three");
        EXPECT_EQ(*co_await seen.next(), "three") << "two was never seen";
        watch<std::string>::reader late(current);
        EXPECT_EQ(*co_await late.next(), "three");
        current.set("four");
        current.close();
        current.set("five");
        EXPECT_EQ(*co_await seen.next(), "four") << "what came before the end";
        EXPECT_EQ(co_await seen.next(), nullptr);
        EXPECT_EQ(co_await seen.next(), nullptr);
    });
}

TEST(watch, wakes_all_that_wait_in_order) {
    simulate([]() -> task<> {
        watch<int> current(0);
        std::vector<std::pair<int, int>> got;
        const auto reading = [&](int id) -> task<> {
            watch<int>::reader seen(current);
            while (const auto value = co_await seen.next()) got.emplace_back(id, *value);
        };
        const auto body = [&](task_group& group) -> task<> {
            for (int id = 0; id < 2; ++id) group.spawn(std::cref(reading), id);
            co_await sleep_for(1ms);
            got.clear();
            current.set(7);
            co_await sleep_for(1ms);
            EXPECT_EQ(got, (std::vector<std::pair<int, int>>{{0, 7}, {1, 7}}));
            current.close();
        };
        co_await with_task_group(body);
    });
}

TEST(watch, a_cancelled_wait_has_seen_nothing) {
    simulate([]() -> task<> {
        watch<int> current(1);
        watch<int>::reader seen(current);
        const auto body = [&](task_group& group) -> task<> {
            const auto reading = [&]() -> task<> {
                static_cast<void>(co_await seen.next());
            };
            group.spawn(std::cref(reading));
            group.cancel();
            co_await group.join();
        };
        co_await with_task_group(body);
        EXPECT_EQ(*co_await seen.next(), 1);
    });
}

TEST(watch, values_come_to_other_loops_and_from_them_and_never_go_back) {
    const auto main = []() -> task<> {
        watch<int> current(0);
        const auto reading = [&]() -> task<> {
            watch<int>::reader seen(current);
            int last = -1;
            while (const auto value = co_await seen.next()) {
                EXPECT_GT(*value, last);
                last = *value;
            }
            EXPECT_EQ(last, 300) << "the last one is never missed";
        };
        const auto writing = [&]() -> task<> {
            for (int i = 1; i <= 300; ++i) current.set(i);
            current.close();
            co_return;
        };
        const auto body = [&](task_group& group) -> task<> {
            for (unsigned id = 0; id < 4; ++id) group.spawn({.loop = id % 2}, std::cref(reading));
            group.spawn({.loop = 1}, std::cref(writing));
            co_return;
        };
        co_await with_task_group(body);
    };
    run(main(), {.loops = 2});
}

}  // namespace
}  // namespace coro
