// A mutex that tasks of several loops use: free, it is taken without a message; waited for, it goes
// from loop to loop in the order of arrival.
#include <coro/runtime/mutex.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <latch>
#include <optional>
#include <utility>
#include <vector>

#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/stats.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// With a loop whose thread is held.
class shared_mutex_held_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, shared_mutex_held_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);
class shared_mutex_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, shared_mutex_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

task<> lock_often(mutex& guard, int times, std::uint64_t& posts) {
    const std::uint64_t before = current_loop_stats().posts;
    for (int i = 0; i < times; ++i) const auto lock = co_await guard.lock();
    posts = current_loop_stats().posts - before;
}

/// Has a task of `loop` lock it; what the home loop and that one were posted meanwhile.
task<std::array<std::uint64_t, 2>> posts_for(mutex& guard, unsigned loop, int times) {
    std::uint64_t there = 0;
    const std::uint64_t before = current_loop_stats().posts;
    const auto body = [&](task_group& group) -> task<> {
        group.spawn({.loop = loop}, lock_often, std::ref(guard), times, std::ref(there));
        co_return;
    };
    co_await with_task_group(body);
    co_return std::array{current_loop_stats().posts - before, there};
}

TEST_P(shared_mutex_test, one_that_is_free_is_taken_without_a_message) {
    const auto body = []() -> task<> {
        mutex guard;
        const auto first = co_await posts_for(guard, 1, 1);
        EXPECT_GT(first[1], 0u);  // the first one goes there, and makes it shared
        const auto one = co_await posts_for(guard, 1, 1);
        const auto many = co_await posts_for(guard, 1, 5000);
        EXPECT_EQ(one, many);
        EXPECT_EQ(many[1], 0u);
        EXPECT_EQ(co_await posts_for(guard, 0, 5000), (std::array<std::uint64_t, 2>{}));
    };
    in_loops(2, body());
}

/// When it has returned, all that tasks of that loop have sent before has come.
task<> visit(unsigned loop) {
    const auto body = [&](task_group& group) -> task<> {
        group.spawn({.loop = loop}, []() -> task<> { co_return; });
        co_return;
    };
    co_await with_task_group(body);
}

/// Several tasks of one loop begin to wait, one after the other.
task<> lock_in_order(mutex& guard, int first, int count, std::vector<int>& order) {
    const auto one = [&](int id) -> task<> {
        const auto lock = co_await guard.lock();
        order.push_back(id);
        co_await yield();
    };
    const auto body = [&](task_group& group) -> task<> {
        for (int i = 0; i < count; ++i) group.spawn(std::ref(one), first + i);
        co_return;
    };
    co_await with_task_group(body);
}

TEST_P(shared_mutex_test, who_waits_gets_it_in_the_order_of_arrival) {
    const auto body = []() -> task<> {
        mutex guard;
        std::vector<int> order;
        const auto in_group = [&](task_group& group) -> task<> {
            auto lock = co_await guard.lock();
            for (unsigned loop = 0; loop < 3; ++loop) {
                group.spawn({.loop = 2 - loop}, lock_in_order, std::ref(guard),
                            static_cast<int>(loop) * 10, 4, std::ref(order));
                co_await visit(2 - loop);
                co_await visit(0);
                co_await visit(2 - loop);
            }
            co_await sleep_for(1ms);  // those of this loop too post to it
        };
        co_await with_task_group(in_group);
        EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23}));
        EXPECT_FALSE(guard.is_locked());
    };
    in_loops(3, body());
}

task<> lock_and_note(mutex& guard, int id, std::vector<int>& order) {
    const auto lock = co_await guard.lock();
    order.push_back(id);
}

TEST_P(shared_mutex_test, who_was_passed_over_on_another_loop_is_handed_it) {
    const auto body = []() -> task<> {
        for (const bool tries : {false, true}) {
            SCOPED_TRACE(tries);
            mutex guard;
            co_await posts_for(guard, 1, 1);  // shared from now on
            std::vector<int> order;
            const auto in_group = [&](task_group& group) -> task<> {
                auto lock = co_await guard.lock();
                group.spawn({.loop = 1}, lock_and_note, std::ref(guard), 1, std::ref(order));
                co_await visit(1);
                lock.unlock();  // the other one hears of it after this:
                if (tries) lock = guard.try_lock();
                else lock = co_await guard.lock();
                order.push_back(0);
                co_await yield();
                co_await visit(1);  // it has been there, and asks for its turn
                lock.unlock();
                EXPECT_FALSE(guard.try_lock());
                lock = co_await guard.lock();
                order.push_back(2);
            };
            co_await with_task_group(in_group);
            EXPECT_EQ(order, (std::vector{0, 1, 2}));
        }
    };
    in_loops(2, body());
}

task<> hold_the_loop(std::latch& is_held, std::latch& goes_on) {
    is_held.count_down();
    goes_on.wait();
    co_return;
}

task<> lock_into(mutex& guard, mutex::scoped_lock& into) { into = co_await guard.lock(); }

/// Tells one on loop 1, who waits for `lock`, and lets it come while the lock is being handed to
/// one on loop 2; that lock is what returns.
task<mutex::scoped_lock> tell_in_vain(task_group& group, mutex& guard, mutex::scoped_lock lock) {
    std::latch is_held(1);
    std::latch goes_on(1);
    group.spawn({.loop = 1}, hold_the_loop, std::ref(is_held), std::ref(goes_on));
    is_held.wait();
    lock.unlock();  // told, but its loop is held
    lock = co_await guard.lock();

    mutex::scoped_lock other;
    group.spawn({.loop = 2}, lock_into, std::ref(guard), std::ref(other));
    co_await visit(2);
    lock.unlock();  // the other one is told
    lock = co_await guard.lock();
    co_await yield();
    co_await visit(2);  // it has been there, and asks for its turn

    goes_on.count_down();
    co_await visit(1);  // so has the first one
    lock.unlock();
    co_await yield();
    co_await visit(2);
    EXPECT_TRUE(other);
    co_return other;
}

TEST_P(shared_mutex_held_test, who_came_in_vain_twice_is_handed_it) {
    const auto body = []() -> task<> {
        mutex guard;
        co_await posts_for(guard, 1, 1);  // shared from now on
        std::vector<int> order;
        const auto in_group = [&](task_group& group) -> task<> {
            auto lock = co_await guard.lock();
            group.spawn({.loop = 1}, lock_and_note, std::ref(guard), 1, std::ref(order));
            co_await visit(1);
            for (int time = 0; time < 2; ++time)
                lock = co_await tell_in_vain(group, guard, std::move(lock));
            lock.unlock();
            EXPECT_FALSE(guard.try_lock());
            lock = co_await guard.lock();
            order.push_back(2);
        };
        co_await with_task_group(in_group);
        EXPECT_EQ(order, (std::vector{1, 2}));
    };
    in_loops(3, body());
}

task<> free_it(mutex::scoped_lock lock) {
    lock.unlock();
    co_return;
}

TEST_P(shared_mutex_test, a_lock_that_moves_is_freed_on_another_loop) {
    const auto body = []() -> task<> {
        for (const bool shared : {false, true}) {
            mutex guard;
            if (shared) co_await posts_for(guard, 1, 1);
            std::vector<int> order;
            const auto in_group = [&](task_group& group) -> task<> {
                auto lock = co_await guard.lock();
                group.spawn(lock_and_note, std::ref(guard), 1, std::ref(order));
                co_await yield();
                group.spawn({.loop = 1}, free_it, std::move(lock));
            };
            co_await with_task_group(in_group);
            EXPECT_EQ(order, std::vector{1});
            EXPECT_FALSE(guard.is_locked());
        }
    };
    in_loops(2, body());
}

TEST_P(shared_mutex_test, one_that_was_shared_is_used_by_the_next_run) {
    mutex guard;
    for (int number = 0; number < 3; ++number) {
        const auto body = [&]() -> task<> {
            const auto first = co_await posts_for(guard, 0, 1);
            EXPECT_EQ(first[1], 0u);
            const auto other = co_await posts_for(guard, 1, 100);
            EXPECT_EQ(other[1] == 0, number != 0);
        };
        in_loops(2, body());
    }
}

using shared_mutex_death = shared_mutex_test;
INSTANTIATE_TEST_SUITE_P(real_worlds, shared_mutex_death, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(shared_mutex_death, destruction_while_another_loop_holds_it_aborts) {
    const auto body = []() -> task<> {
        std::optional<mutex> guard(std::in_place);
        co_await posts_for(*guard, 1, 1);
        mutex::scoped_lock held;
        const auto take = [](mutex& of, mutex::scoped_lock& into) -> task<> {
            into = co_await of.lock();
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, take, std::ref(*guard), std::ref(held));
            co_return;
        };
        co_await with_task_group(in_group);
        guard.reset();
    };
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(in_loops(2, body()), "a mutex was destroyed while a task held it");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
