// retry: attempts, pauses, and errors that are worth one.
#include <coro/runtime/retry.hpp>

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
#include <cmath>
#include <stdexcept>
#include <system_error>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

struct failing {
    int attempts = 0;
    int good_at = 1000;
    std::errc error = std::errc::connection_refused;

    task<int> operator()() {
        if (++attempts < good_at)
            throw io_error(std::make_error_code(error), "connect", "somewhere");
        co_return attempts;
    }
};

TEST(retry, returns_the_value_of_the_first_attempt_that_succeeds) {
    simulate([]() -> task<> {
        failing work{.good_at = 3};
        EXPECT_EQ(co_await retry(std::ref(work)), 3);
        EXPECT_EQ(work.attempts, 3);
    });
}

TEST(retry, throws_the_last_error_after_so_many_attempts) {
    simulate([]() -> task<> {
        failing work;
        bool failed = false;
        try {
            co_await retry(std::ref(work), {.attempts = 4});
        } catch (const io_error& error) {
            failed = error == std::errc::connection_refused;
        }
        EXPECT_TRUE(failed);
        EXPECT_EQ(work.attempts, 4);
    });
}

TEST(retry, pauses_grow_to_the_longest_and_jitter_only_shortens_them) {
    simulate([]() -> task<> {
        failing work;
        const backoff_options exact{.first = 100ms, .longest = 500ms, .factor = 2, .jitter = 0};
        time_point begin = now();
        const auto tried = [&](std::size_t attempts, backoff_options pauses) -> task<> {
            try {
                co_await retry(std::ref(work), {.attempts = attempts, .pauses = pauses});
            } catch (const io_error&) {
            }
        };
        co_await tried(6, exact);
        const duration expected = 100ms + 200ms + 400ms + 500ms + 500ms;
        EXPECT_GE(now() - begin, expected);
        EXPECT_LE(now() - begin, expected + 5ms);

        backoff pauses({.first = 100ms, .longest = 10s, .factor = 3, .jitter = 0.5});
        duration whole = 100ms;
        for (int i = 0; i < 10; ++i) {
            const duration pause = pauses.next();
            EXPECT_LE(pause, whole);
            EXPECT_GE(pause, whole / 2 - 1us);
            whole = std::min<duration>(whole * 3, 10s);
        }
        pauses.reset();
        EXPECT_LE(pauses.next(), 100ms);
        backoff even({.first = 100ms, .longest = duration::max(), .factor = 1, .jitter = 0});
        for (int i = 0; i < 5; ++i) EXPECT_EQ(even.next(), 100ms);
        backoff none({.first = 0ms, .longest = 1s, .factor = HUGE_VAL, .jitter = 1});
        for (int i = 0; i < 3; ++i) EXPECT_EQ(none.next(), 0ms);
        backoff at_once({.first = 1ms, .longest = 1s, .factor = HUGE_VAL, .jitter = 0});
        EXPECT_EQ(at_once.next(), 1ms);
        EXPECT_EQ(at_once.next(), 1s);
        backoff long_ones({.first = duration::max(), .longest = duration::max(), .factor = 10});
        for (int i = 0; i < 5; ++i) EXPECT_GE(long_ones.next(), duration::zero());
    });
}

TEST(retry, gives_up_at_once_where_the_error_is_not_worth_it) {
    simulate([]() -> task<> {
        failing work{.error = std::errc::permission_denied};
        const auto is_worth = [](const io_error& error) {
            return error == std::errc::connection_refused;
        };
        bool failed = false;
        try {
            co_await retry(std::ref(work), {}, is_worth);
        } catch (const io_error& error) {
            failed = error == std::errc::permission_denied;
        }
        EXPECT_TRUE(failed);
        EXPECT_EQ(work.attempts, 1);

        int calls = 0;
        const auto broken = [&]() -> task<> {
            ++calls;
            throw std::logic_error("not of the network");
            co_return;
        };
        bool thrown = false;
        try {
            co_await retry(broken);
        } catch (const std::logic_error&) {
            thrown = true;
        }
        EXPECT_TRUE(thrown);
        EXPECT_EQ(calls, 1);
    });
}

TEST(retry, an_enclosing_deadline_ends_it_in_a_pause) {
    simulate([]() -> task<> {
        failing work;
        const time_point begin = now();
        EXPECT_FALSE((co_await move_on_after(
                          1s, retry(std::ref(work), {.attempts = 1000,
                                                     .pauses = {.first = 300ms, .factor = 1}})))
                         .has_value());
        EXPECT_GE(now() - begin, 1s);
        EXPECT_LE(now() - begin, 1001ms);
    });
}

}  // namespace
}  // namespace coro
