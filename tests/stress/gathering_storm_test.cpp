// Latches, barriers, shared locks, conditions, watches, broadcasts and rates, used by the tasks of
// several loops at once, some of which give up at any moment.
#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>

#include <coro/coro.hpp>
#include <coro/runtime/barrier.hpp>
#include <coro/runtime/broadcast.hpp>
#include <coro/runtime/condition_variable.hpp>
#include <coro/runtime/latch.hpp>
#include <coro/runtime/oneshot.hpp>
#include <coro/runtime/rate_limiter.hpp>
#include <coro/runtime/shared_mutex.hpp>
#include <coro/runtime/watch.hpp>

#include "conformance/poller_test_support.hpp"
#include "stress/storm_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {
namespace {

class gathering_storm : public storm_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, gathering_storm,
                         ::testing::ValuesIn(conformance::real_worlds()),
                         conformance::parameter_name);

constexpr int rounds_each = 150;

struct gathered_things {
    shared_mutex doors;
    int plain = 0;  // a race that the sanitizer sees, if the lock fails
    std::atomic<int> written{0};
    mutex guard;
    condition_variable changed;
    std::deque<int> queue;
    std::atomic<int> put{0};
    std::atomic<int> taken{0};
    rate_limiter limit{{.tokens = 200'000, .per = time_span(std::chrono::seconds(1)), .burst = 8}};
    watch<int> latest{0};
    broadcast<int> news{8};
};

task<> write_once(gathered_things& all, bool lingers) {
    const auto lock = co_await all.doors.lock();
    ++all.plain;
    all.written.fetch_add(1, std::memory_order_relaxed);
    if (lingers) co_await yield();
}
task<> read_once(gathered_things& all) {
    const auto lock = co_await all.doors.lock_shared();
    EXPECT_GE(all.plain, 0);
}
task<> take_one(gathered_things& all) {
    auto lock = co_await all.guard.lock();
    co_await all.changed.wait(lock, [&] { return !all.queue.empty(); });
    all.queue.pop_front();
    all.taken.fetch_add(1);
}
task<> put_one(gathered_things& all) {
    const auto lock = co_await all.guard.lock();
    all.queue.push_back(1);
    all.put.fetch_add(1);
    all.changed.notify_one();
}
task<> take_a_token(gathered_things& all) { co_await all.limit.take(); }
task<> see_a_change(gathered_things& all) {
    watch<int>::reader seen(all.latest);
    const auto first = co_await seen.next();
    const auto second = co_await seen.next();
    EXPECT_TRUE(first != nullptr && second != nullptr);
}

task<> use_all(gathered_things& all, broadcast<int>::reader mine) {
    dice random(loop_index() + 5);
    for (int i = 0; i < rounds_each; ++i) {
        const duration patience = random.up_to(std::chrono::microseconds(120));
        switch (random.below(8)) {
            case 0: co_await move_on_after(patience, write_once(all, i % 2 == 0)); break;
            case 1: co_await move_on_after(patience, read_once(all)); break;
            case 2: co_await move_on_after(patience, take_one(all)); break;
            case 3: co_await put_one(all); break;
            case 4: co_await move_on_after(patience, take_a_token(all)); break;
            case 5: co_await move_on_after(patience, see_a_change(all)); break;
            case 6: {
                all.latest.set(i);
                all.news.send(i);
                break;
            }
            default: static_cast<void>(co_await move_on_after(patience, mine.receive()));
        }
    }
}

TEST_P(gathering_storm, cancelled_waits_lose_nothing) {
    const auto body = []() -> task<> {
        gathered_things all;
        for (int round = 0; round < 6; ++round) {
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned i = 0; i < 2 * storm_loops; ++i)
                    group.spawn({.loop = i % storm_loops}, use_all, std::ref(all),
                                all.news.subscribe());
                co_return;
            };
            co_await with_task_group(in_group);
        }
        while (!all.queue.empty()) co_await take_one(all);
        EXPECT_EQ(all.put.load(), all.taken.load()) << "an item was lost or doubled";
        co_await write_once(all, false);
        EXPECT_EQ(all.plain, all.written.load());
    };
    storm(body);
}

task<> run_a_round(latch& ready, barrier& line, std::array<std::atomic<int>, 8>& rounds,
                   std::size_t id) {
    co_await ready.arrive_and_wait();
    for (int round = 1; round <= rounds_each; ++round) {
        rounds[id].store(round, std::memory_order_relaxed);
        static_cast<void>(co_await line.arrive_and_wait());
        for (std::size_t other = 0; other < 2 * storm_loops; ++other)
            EXPECT_GE(rounds[other].load(std::memory_order_relaxed), round);
        static_cast<void>(co_await line.arrive_and_wait());
    }
}

TEST_P(gathering_storm, a_barrier_orders_the_tasks_of_all_loops) {
    const auto body = []() -> task<> {
        latch ready(2 * storm_loops);
        barrier line(2 * storm_loops);
        std::array<std::atomic<int>, 8> rounds{};
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned id = 0; id < 2 * storm_loops; ++id)
                group.spawn({.loop = id % storm_loops}, run_a_round, std::ref(ready),
                            std::ref(line), std::ref(rounds), std::size_t{id});
            co_return;
        };
        co_await with_task_group(in_group);
    };
    storm(body);
}

task<> answer(oneshot<std::unique_ptr<int>>& question, oneshot<std::unique_ptr<int>>& reply) {
    auto number = co_await question.receive();
    ++*number;
    static_cast<void>(reply.send(std::move(number)));
}

TEST_P(gathering_storm, questions_are_answered_once) {
    const auto body = []() -> task<> {
        for (int i = 0; i < 2 * rounds_each; ++i) {
            oneshot<std::unique_ptr<int>> question;
            oneshot<std::unique_ptr<int>> reply;
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn({.loop = 1}, answer, std::ref(question), std::ref(reply));
                static_cast<void>(question.send(std::make_unique<int>(i)));
                const auto number = co_await reply.receive();
                EXPECT_EQ(*number, i + 1);
            };
            co_await with_task_group(in_group);
        }
    };
    storm(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::stress
