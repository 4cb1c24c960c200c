// oneshot: one value, once, or the end.
#include <coro/runtime/oneshot.hpp>

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

task<> receive_into(oneshot<box>& from, std::vector<int>& got) {
    try {
        const box value = co_await from.receive();
        got.push_back(*value);
    } catch (const io_error& error) {
        EXPECT_EQ(error, errc::closed);
        got.push_back(-1);
    }
}

TEST(oneshot, gives_the_value_to_who_waits_and_to_who_comes_later) {
    simulate([]() -> task<> {
        std::vector<int> got;
        oneshot<box> early;
        EXPECT_TRUE(early.send(boxed(1)));
        co_await receive_into(early, got);

        oneshot<box> late;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(receive_into, std::ref(late), std::ref(got));
            co_await yield();
            EXPECT_TRUE(late.send(boxed(2)));
            EXPECT_EQ(got.size(), 1u) << "nobody is resumed in place";
        };
        co_await with_task_group(body);
        EXPECT_EQ(got, (std::vector{1, 2}));
    });
}

TEST(oneshot, is_sent_once_and_received_once) {
    simulate([]() -> task<> {
        std::vector<int> got;
        oneshot<box> one;
        EXPECT_TRUE(one.send(boxed(1)));
        box second = boxed(2);
        EXPECT_FALSE(one.send(std::move(second)));
        EXPECT_EQ(*second, 2) << "it is whole";  // NOLINT: send says so
        one.close();  // too late
        co_await receive_into(one, got);
        co_await receive_into(one, got);
        EXPECT_EQ(got, (std::vector{1, -1}));
    });
}

TEST(oneshot, close_ends_who_waits_and_refuses_the_value) {
    simulate([]() -> task<> {
        std::vector<int> got;
        oneshot<box> one;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(receive_into, std::ref(one), std::ref(got));
            group.spawn(receive_into, std::ref(one), std::ref(got));
            co_await yield();
            one.close();
            EXPECT_FALSE(one.send(boxed(1)));
        };
        co_await with_task_group(body);
        EXPECT_EQ(got, (std::vector{-1, -1}));
    });
}

TEST(oneshot, a_cancelled_receive_leaves_the_value_to_the_next) {
    simulate([]() -> task<> {
        std::vector<int> got;
        oneshot<box> one;
        EXPECT_FALSE((co_await move_on_after(1ms, one.receive())).has_value());
        EXPECT_TRUE(one.send(boxed(3)));
        co_await receive_into(one, got);
        EXPECT_EQ(got, (std::vector{3}));

        oneshot<box> unread;
        EXPECT_TRUE(unread.send(boxed(4)));  // a leak would be seen by the sanitizer
    });
}

TEST(oneshot, carries_a_value_between_loops) {
    const auto main = []() -> task<> {
        for (int i = 0; i < 200; ++i) {
            oneshot<box> question;
            oneshot<box> answer;
            const auto responder = [&]() -> task<> {
                box value = co_await question.receive();
                ++*value;
                EXPECT_TRUE(answer.send(std::move(value)));
            };
            const auto body = [&](task_group& group) -> task<> {
                group.spawn({.loop = 1}, std::cref(responder));
                EXPECT_TRUE(question.send(boxed(i)));
                const box value = co_await answer.receive();
                EXPECT_EQ(*value, i + 1);
            };
            co_await with_task_group(body);
        }
    };
    run(main(), {.loops = 2});
}

}  // namespace
}  // namespace coro
