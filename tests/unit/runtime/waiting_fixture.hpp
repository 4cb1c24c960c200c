// What the tests of event, mutex, semaphore and channel share: runs in virtual time that look at
// what they leave, and an alarm that goes off inside of the timer queue.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include <coro/runtime/run.hpp>
#include <coro/runtime/stats.hpp>

namespace coro::waiting_tests {

using namespace std::chrono_literals;

inline bool failed() { return ::testing::Test::HasFailure(); }

/// Runs `body` in virtual time; afterwards no frame and no timer may be left over.
template <typename Body>
void simulate(Body body) {
    const auto checked = [](Body& inner) -> task<> {
        const std::int64_t frames = current_loop_stats().frames;
        co_await inner();
        EXPECT_EQ(current_loop_stats().frames, frames);
        EXPECT_EQ(current_loop_stats().timers_armed, 0U);
    };
    run(checked(body), {.poller = poller_choice::simulation});
}

/// Calls a function at a point in time, from inside of the timer queue.
struct alarm : detail::timer_node {
    explicit alarm(std::function<void()> action) : timer_node(&fire), what(std::move(action)) {}
    void arm(time_point when) { detail::this_loop().arm_timer(*this, when); }
    static void fire(timer_node& node) noexcept { static_cast<alarm&>(node).what(); }
    std::function<void()> what;
};
inline task<> arm_later(alarm& bell, time_point when) {
    bell.arm(when);
    co_return;
}

using box = std::unique_ptr<int>;  // move-only, and a leak is seen by ASan
inline box boxed(int value) { return std::make_unique<int>(value); }

}  // namespace coro::waiting_tests
