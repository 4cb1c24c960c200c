// What the tests of mutexes of one loop and of several share: a task that holds one for a while,
// and tasks that want one at random times, with and without a timeout.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include <coro/runtime/mutex.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro::waiting_tests {

inline task<> lock_once(mutex& guard, int id, std::vector<int>& order) {
    const auto lock = co_await guard.lock();
    order.push_back(id);
    co_await sleep_for(1ms);
}

struct mutex_contest {
    mutex_contest(std::uint64_t seed, mutex& for_what) : random(seed), guard(for_what) {}
    duration span(int most) {
        return std::chrono::microseconds(250) * static_cast<int>(random() % unsigned(most));
    }
    std::mt19937_64 random;
    mutex& guard;
    int inside = 0;
    int held = 0;
    int late = 0;
};

inline task<> hold_in_contest(mutex_contest& in) {
    EXPECT_EQ(++in.inside, 1);
    ++in.held;
    if (in.random() % 2 == 0) co_await sleep_for(in.span(8));
    EXPECT_EQ(--in.inside, 0);
}

inline task<> contend_for_mutex(mutex_contest& in) {
    for (int round = 0; round < 8; ++round) {
        co_await sleep_for(in.span(8));
        if (in.random() % 3 == 0) {
            const auto lock = co_await in.guard.lock();
            co_await hold_in_contest(in);
        } else if (const auto lock = co_await move_on_after(in.span(12), in.guard.lock())) {
            EXPECT_TRUE(*lock);
            co_await hold_in_contest(in);
        } else {
            ++in.late;
        }
    }
}

/// Six tasks for each seed; the number of times that one did not get it in time.
inline int contend_under_random_timeouts(mutex& guard) {
    int late = 0;
    for (std::uint64_t seed = 1; seed <= 250 && !failed(); ++seed) {
        SCOPED_TRACE(seed);
        simulate([seed, &late, &guard]() -> task<> {
            mutex_contest all(seed, guard);
            const auto body = [&](task_group& group) -> task<> {
                for (int i = 0; i < 6; ++i) group.spawn(contend_for_mutex, std::ref(all));
                co_return;
            };
            co_await with_task_group(body);
            EXPECT_EQ(all.held + all.late, 48);
            EXPECT_FALSE(all.guard.is_locked());
            late += all.late;
        });
    }
    return late;
}

}  // namespace coro::waiting_tests
