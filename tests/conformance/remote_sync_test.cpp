// Events, locks, semaphores and channels used by tasks of several loops.
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/mutex.hpp>
#include <coro/runtime/semaphore.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class remote_sync : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, remote_sync, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

task<> wait_then_count(event& happened, std::atomic<int>& count) {
    co_await happened.wait();
    count.fetch_add(1);
}
task<> set_it(event& happened) {
    happened.set();
    co_return;
}

TEST_P(remote_sync, an_event_is_waited_for_and_set_from_everywhere) {
    const auto body = []() -> task<> {
        for (int round = 0; round < 50; ++round) {
            event happened;
            std::atomic<int> count{0};
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned i = 0; i < 9; ++i)
                    group.spawn({.loop = i % 3}, wait_then_count, std::ref(happened),
                                std::ref(count));
                for (unsigned i = 0; i < 3; ++i)
                    group.spawn({.loop = i}, set_it, std::ref(happened));
                co_return;
            };
            co_await with_task_group(in_group);
            EXPECT_EQ(count.load(), 9);
        }
    };
    in_loops(3, body());
}

task<> add_under_lock(mutex& guard, int& plain, int times) {
    for (int i = 0; i < times; ++i) {
        const auto lock = co_await guard.lock();
        const int before = plain;
        if (i % 4 == 0) co_await yield();
        plain = before + 1;
    }
}

TEST_P(remote_sync, a_mutex_excludes_tasks_of_all_loops) {
    const auto body = []() -> task<> {
        mutex guard;
        int plain = 0;  // a lost update, or a race that a sanitizer sees, if the mutex fails
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned i = 0; i < 6; ++i)
                group.spawn({.loop = i % 3}, add_under_lock, std::ref(guard), std::ref(plain), 200);
            co_return;
        };
        co_await with_task_group(in_group);
        EXPECT_EQ(plain, 1200);
        EXPECT_FALSE(guard.is_locked());
    };
    in_loops(3, body());
}

task<> hold_permits(semaphore& slots, std::atomic<int>& inside, std::atomic<int>& most) {
    for (std::size_t i = 0; i < 100; ++i) {
        const auto permit = co_await slots.acquire(1 + i % 2);
        const int now_inside = inside.fetch_add(1) + 1;
        int seen = most.load();
        while (seen < now_inside && !most.compare_exchange_weak(seen, now_inside)) {
        }
        if (i % 3 == 0) co_await yield();
        inside.fetch_sub(1);
    }
}

TEST_P(remote_sync, a_semaphore_limits_tasks_of_all_loops) {
    const auto body = []() -> task<> {
        semaphore slots(3);
        std::atomic<int> inside{0};
        std::atomic<int> most{0};
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned i = 0; i < 9; ++i)
                group.spawn({.loop = i % 3}, hold_permits, std::ref(slots), std::ref(inside),
                            std::ref(most));
            co_return;
        };
        co_await with_task_group(in_group);
        EXPECT_LE(most.load(), 3);
        EXPECT_EQ(slots.available(), 3u);
    };
    in_loops(3, body());
}

using item = std::unique_ptr<int>;

task<> send_numbers(channel<item>& to, int first, int count, std::atomic<int>& senders) {
    for (int i = 0; i < count; ++i) co_await to.send(std::make_unique<int>(first + i));
    if (senders.fetch_sub(1) == 1) to.close();
}
task<> receive_numbers(channel<item>& from, std::vector<int>& seen) {
    for (;;) {
        item got;
        if (auto next = co_await from.receive()) got = std::move(*next);
        if (got == nullptr) break;
        seen.push_back(*got);
    }
}

TEST_P(remote_sync, a_channel_carries_each_item_once_between_loops) {
    const auto body = []() -> task<> {
        for (const std::size_t capacity : {std::size_t{0}, std::size_t{3}}) {
            channel<item> numbers(capacity);
            std::atomic<int> senders{3};
            std::vector<std::vector<int>> seen(3);
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned i = 0; i < 3; ++i) {
                    group.spawn({.loop = i}, receive_numbers, std::ref(numbers), std::ref(seen[i]));
                    group.spawn({.loop = i}, send_numbers, std::ref(numbers),
                                static_cast<int>(i) * 1000, 200, std::ref(senders));
                }
                co_return;
            };
            co_await with_task_group(in_group);
            std::vector<int> all;
            for (const auto& part : seen) all.insert(all.end(), part.begin(), part.end());
            std::sort(all.begin(), all.end());
            EXPECT_EQ(all.size(), 600u);
            EXPECT_EQ(std::unique(all.begin(), all.end()), all.end()) << "an item came twice";
        }
    };
    in_loops(3, body());
}

/// Receives under a timeout that often strikes while an item is on its way.
task<> receive_impatiently(channel<int>& from, std::atomic<std::int64_t>& sum,
                           std::atomic<int>& cancelled_ones) {
    for (;;) {
        std::optional<int> next;
        bool ended = false;
        const auto one = [&]() -> task<> {
            next = co_await from.receive();
            ended = !next;
        };
        const bool in_time = co_await move_on_after(50us, one());
        if (next) sum.fetch_add(*next);
        if (ended) break;
        if (!in_time) cancelled_ones.fetch_add(1);
    }
}
task<> send_slowly(channel<int>& to, int count, const std::atomic<int>& cancelled_ones) {
    while (cancelled_ones.load() == 0) co_await sleep_for(60us);  // so that one is for sure
    for (int i = 1; i <= count; ++i) {
        co_await to.send(i);
        if (i % 2 == 0) co_await sleep_for(60us);
    }
    to.close();
}

TEST_P(remote_sync, cancelling_a_remote_receive_loses_no_item) {
    const auto body = []() -> task<> {
        channel<int> numbers(1);
        std::atomic<std::int64_t> sum{0};
        std::atomic<int> cancelled_ones{0};
        constexpr int count = 2000;
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned i = 0; i < 3; ++i)
                group.spawn({.loop = i}, receive_impatiently, std::ref(numbers), std::ref(sum),
                            std::ref(cancelled_ones));
            group.spawn({.loop = 1}, send_slowly, std::ref(numbers), count,
                        std::cref(cancelled_ones));
            co_return;
        };
        co_await with_task_group(in_group);
        EXPECT_EQ(sum.load(), std::int64_t{count} * (count + 1) / 2);
        EXPECT_GT(cancelled_ones.load(), 0) << "nothing was ever cancelled";
    };
    in_loops(3, body());
}

task<> lock_impatiently(mutex& guard, int& plain, int times) {
    for (int i = 0; i < times; ++i) {
        const auto one = [&]() -> task<> {
            const auto lock = co_await guard.lock();
            ++plain;
            if (i % 5 == 0) co_await sleep_for(20us);
        };
        // The last one has no hurry, so that one is for sure.
        const duration limit = i + 1 < times ? duration(i % 80 * 1000) : duration(1h);
        co_await move_on_after(limit, one());
    }
}

TEST_P(remote_sync, cancelling_a_remote_lock_leaves_it_free) {
    const auto body = []() -> task<> {
        mutex guard;
        int plain = 0;
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned i = 0; i < 6; ++i)
                group.spawn({.loop = i % 3}, lock_impatiently, std::ref(guard), std::ref(plain),
                            300);
            co_return;
        };
        co_await with_task_group(in_group);
        EXPECT_FALSE(guard.is_locked());
        EXPECT_GT(plain, 0);
    };
    in_loops(3, body());
}

task<> try_remotely(mutex& guard) {
    static_cast<void>(guard.try_lock());
    co_return;
}

using remote_sync_death = remote_sync;
INSTANTIATE_TEST_SUITE_P(real_worlds, remote_sync_death, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(remote_sync_death, what_does_not_wait_is_refused_elsewhere) {
    const auto body = []() -> task<> {
        mutex guard;
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, try_remotely, std::ref(guard));
            co_return;
        };
        co_await with_task_group(in_group);
    };
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    EXPECT_DEATH(in_loops(2, body()), "used outside of its loop");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
