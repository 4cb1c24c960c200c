// shared_mutex: readers beside each other, writers alone, nobody overtakes.
#include <coro/runtime/shared_mutex.hpp>

#include <algorithm>
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

/// One more, until its end, however that comes.
struct one_more {
    explicit one_more(int& of) : count(of) { ++count; }
    one_more(const one_more&) = delete;
    one_more& operator=(const one_more&) = delete;
    ~one_more() { --count; }
    int& count;
};

struct watched_data {
    shared_mutex guard;
    int readers = 0;
    int writers = 0;
    int most_readers = 0;
    std::vector<std::string> order;

    task<> read(std::string id, time_span how_long) {
        const auto lock = co_await guard.lock_shared();
        order.push_back(id);
        const one_more here(readers);
        most_readers = std::max(most_readers, readers);
        EXPECT_EQ(writers, 0);
        co_await sleep_for(how_long);
    }
    task<> write(std::string id, time_span how_long) {
        const auto lock = co_await guard.lock();
        order.push_back(id);
        const one_more here(writers);
        EXPECT_EQ(writers, 1);
        EXPECT_EQ(readers, 0);
        co_await sleep_for(how_long);
    }
};

TEST(shared_mutex, readers_go_together_and_a_writer_waits_for_no_later_reader) {
    simulate([]() -> task<> {
        watched_data data;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn({.closure_is_kept = true}, data.read("r1", 10ms));
            group.spawn({.closure_is_kept = true}, data.read("r2", 20ms));
            co_await sleep_for(1ms);
            group.spawn({.closure_is_kept = true}, data.write("w1", 10ms));
            co_await sleep_for(1ms);
            group.spawn({.closure_is_kept = true}, data.read("r3", 10ms));
            group.spawn({.closure_is_kept = true}, data.read("r4", 10ms));
            group.spawn({.closure_is_kept = true}, data.write("w2", 10ms));
            co_await sleep_for(1ms);
            EXPECT_EQ(data.order, (std::vector<std::string>{"r1", "r2"}));
            EXPECT_FALSE(data.guard.try_lock_shared()) << "a writer waits";
            co_await group.join();
        };
        co_await with_task_group(body);
        EXPECT_EQ(data.order, (std::vector<std::string>{"r1", "r2", "w1", "r3", "r4", "w2"}));
        EXPECT_EQ(data.most_readers, 2);
    });
}

TEST(shared_mutex, a_writer_that_is_withdrawn_lets_the_readers_behind_it_go) {
    simulate([]() -> task<> {
        watched_data data;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn({.closure_is_kept = true}, data.read("r1", 100ms));
            co_await sleep_for(1ms);
            const auto impatient = [&]() -> task<> {
                EXPECT_FALSE(co_await move_on_after(5ms, data.write("w", 1ms)));
            };
            group.spawn(std::cref(impatient));
            co_await sleep_for(1ms);
            const time_point asked = now();
            co_await data.read("r2", 1ms);
            EXPECT_LT(now() - asked, 50ms) << "virtual time: beside r1";
        };
        co_await with_task_group(body);
        EXPECT_EQ(data.order, (std::vector<std::string>{"r1", "r2"}));
    });
}

TEST(shared_mutex, locks_are_tried_moved_and_given_back_early) {
    simulate([]() -> task<> {
        shared_mutex guard;
        auto first = guard.try_lock_shared();
        auto second = guard.try_lock_shared();
        EXPECT_TRUE(first && second);
        EXPECT_FALSE(guard.try_lock());
        first = std::move(second);
        EXPECT_FALSE(guard.try_lock());
        first.unlock();
        first.unlock();
        auto alone = guard.try_lock();
        EXPECT_TRUE(alone);
        EXPECT_FALSE(guard.try_lock());
        EXPECT_FALSE(guard.try_lock_shared());
        const auto moved = std::move(alone);
        EXPECT_TRUE(moved);
        EXPECT_FALSE(alone);  // NOLINT: it says so
        co_return;
    });
}

TEST(shared_mutex, excludes_under_random_cancellation) {
    for (unsigned seed = 0; seed < 50; ++seed) {
        simulate([seed]() -> task<> {
            watched_data data;
            std::mt19937 random(seed);
            const auto client = [&]() -> task<> {
                for (int i = 0; i < 20; ++i) {
                    const auto how_long = std::chrono::microseconds(random() % 300);
                    const auto patience = std::chrono::microseconds(random() % 2000);
                    if (random() % 3 == 0)
                        co_await move_on_after(patience, data.write("w", how_long));
                    else co_await move_on_after(patience, data.read("r", how_long));
                }
            };
            const auto body = [&](task_group& group) -> task<> {
                for (int id = 0; id < 4; ++id) group.spawn(std::cref(client));
                co_return;
            };
            co_await with_task_group(body);
            EXPECT_TRUE(data.guard.try_lock()) << "a lock was lost";
        });
    }
}

TEST(shared_mutex, guards_what_tasks_of_several_loops_and_fibers_use) {
    const auto main = []() -> task<> {
        shared_mutex guard;
        int plain = 0;
        const auto writer = [&]() -> task<> {
            for (int i = 0; i < 100; ++i) {
                const auto lock = co_await guard.lock();
                ++plain;
            }
        };
        const auto reader = [&]() -> task<> {
            for (int i = 0; i < 100; ++i) {
                const auto lock = co_await guard.lock_shared();
                EXPECT_GE(plain, 0);
            }
        };
        const auto body = [&](task_group& group) -> task<> {
            for (unsigned id = 0; id < 4; ++id) {
                group.spawn({.loop = id % 2}, std::cref(writer));
                group.spawn({.loop = id % 2}, std::cref(reader));
            }
            group.spawn(fiber([&] {
                const auto lock = await(guard.lock());
                ++plain;
            }));
            co_return;
        };
        co_await with_task_group(body);
        const auto last = co_await guard.lock();
        EXPECT_EQ(plain, 401);
    };
    run(main(), {.loops = 2});
}

}  // namespace
}  // namespace coro
