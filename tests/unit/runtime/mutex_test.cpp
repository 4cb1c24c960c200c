// mutex: exclusion, order of grants, cancellation, deadlines; random schedules against a model.
#include <coro/runtime/mutex.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/runtime/run.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/runtime/mutex_contest.hpp"
#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

static_assert(!std::is_copy_constructible_v<mutex::scoped_lock>);
static_assert(std::is_nothrow_move_constructible_v<mutex::scoped_lock>);
static_assert(!std::is_move_constructible_v<mutex>);

TEST(mutex, a_free_one_is_taken_without_suspending) {
    simulate([]() -> task<> {
        mutex guard;
        const auto resumed = current_loop_stats().resumed;
        {
            const auto lock = co_await guard.lock();
            EXPECT_TRUE(lock);
            EXPECT_TRUE(guard.is_locked());
        }
        EXPECT_FALSE(guard.is_locked());
        EXPECT_EQ(current_loop_stats().resumed, resumed);
    });
}

TEST(mutex, is_granted_in_the_order_of_arrival) {
    simulate([]() -> task<> {
        mutex guard;
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            for (int id = 0; id < 5; ++id)
                group.spawn(lock_once, std::ref(guard), id, std::ref(order));
            co_return;
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{0, 1, 2, 3, 4}));
    });
}

TEST(mutex, unlocking_hands_over_so_that_nobody_overtakes) {
    simulate([]() -> task<> {
        mutex guard;
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            auto lock = co_await guard.lock();
            group.spawn(lock_once, std::ref(guard), 1, std::ref(order));
            co_await yield();
            lock.unlock();
            EXPECT_FALSE(lock);
            EXPECT_TRUE(guard.is_locked());  // it belongs to the other already
            EXPECT_FALSE(guard.try_lock());
            lock = co_await guard.lock();
            order.push_back(2);
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{1, 2}));
    });
}

TEST(mutex, a_lock_moves_and_can_be_given_back_early) {
    simulate([]() -> task<> {
        mutex guard;
        auto first = guard.try_lock();
        EXPECT_TRUE(first);
        mutex::scoped_lock second = std::move(first);
        EXPECT_FALSE(first);  // NOLINT: moved from on purpose
        EXPECT_TRUE(second);
        second = mutex::scoped_lock();
        EXPECT_FALSE(guard.is_locked());
        second = co_await guard.lock();
        second.unlock();
        second.unlock();
        EXPECT_FALSE(guard.is_locked());
    });
}

TEST(mutex, cancellation_wins_at_entry_even_when_it_is_free) {
    simulate([]() -> task<> {
        mutex guard;
        bool thrown = false;
        const auto body = [&](task_group& group) -> task<> {
            group.cancel();
            try {
                const auto lock = co_await guard.lock();
            } catch (const cancelled&) {
                thrown = true;
                throw;
            }
        };
        co_await with_task_group(body);
        EXPECT_TRUE(thrown);
        EXPECT_FALSE(guard.is_locked());
    });
}

TEST(mutex, a_grant_survives_a_later_cancellation) {
    simulate([]() -> task<> {
        mutex guard;
        bool held = false;
        const auto waiter = [](mutex& lock_of, bool& got) -> task<> {
            const auto lock = co_await lock_of.lock();
            got = true;
        };
        const auto body = [&](task_group& group) -> task<> {
            auto lock = co_await guard.lock();
            group.spawn(waiter, std::ref(guard), std::ref(held));
            co_await yield();
            lock.unlock();   // granted now, resumed later
            group.cancel();  // too late
        };
        co_await with_task_group(body);
        EXPECT_TRUE(held);
        EXPECT_FALSE(guard.is_locked());
    });
}

/// What becomes of with_deadline around a lock when the grant falls into the very same instant.
task<bool> granted_at_the_deadline(bool grant_first) {
    mutex guard;
    auto holder = guard.try_lock();
    const time_point when = now() + 10ms;
    alarm bell([&] { holder.unlock(); });
    bool taken = false;
    const auto body = [&](task_group& group) -> task<> {
        if (grant_first) bell.arm(when);
        else group.spawn(arm_later, std::ref(bell), when);
        try {
            const auto lock = co_await with_deadline(when, guard.lock());
            taken = true;
        } catch (const io_error& error) {
            EXPECT_EQ(error.code(), errc::deadline_exceeded);
        }
        EXPECT_EQ(now(), when);
    };
    co_await with_task_group(body);
    EXPECT_FALSE(guard.is_locked());
    co_return taken;
}

TEST(mutex, grant_and_deadline_in_one_instant_lose_nothing) {
    simulate([]() -> task<> {
        EXPECT_TRUE(co_await granted_at_the_deadline(true));
        EXPECT_FALSE(co_await granted_at_the_deadline(false));
    });
}

TEST(mutex, one_that_is_always_free_starves_nobody) {
    simulate([]() -> task<> {
        mutex guard;
        int rounds = 0;
        int seen = -1;
        const auto other = [](const int& counter, int& saw) -> task<> {
            saw = counter;
            co_return;
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(other, std::cref(rounds), std::ref(seen));
            for (; rounds < 1000; ++rounds) const auto lock = co_await guard.lock();
        };
        co_await with_task_group(body);
        EXPECT_GE(seen, 1);
        EXPECT_LE(seen, detail::inline_completions);
    });
}

TEST(mutex, a_dump_names_the_wait) {
    simulate([]() -> task<> {
        mutex guard;
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            const auto lock = co_await guard.lock();
            group.spawn(lock_once, std::ref(guard), 1, std::ref(order));
            co_await yield();
            EXPECT_NE(dump_tasks().find("lock mutex"), std::string::npos);
        };
        co_await with_task_group(body);
    });
}

TEST(mutex_death, destruction_while_it_is_held_aborts) {
    EXPECT_DEATH(
        {
            mutex::scoped_lock lock;
            mutex guard;
            lock = guard.try_lock();
        },
        "a mutex was destroyed while a task held it");
}

TEST(mutex_death, use_outside_of_its_loop_aborts) {
    mutex guard;
    // The whole run is in the child: what a run of the parent has used is free there.
    const auto misuse = [&] {
        simulate([&]() -> task<> {
            const auto lock = co_await guard.lock();
            std::thread([&] { static_cast<void>(guard.try_lock()); }).join();
        });
    };
    EXPECT_DEATH(misuse(), "used outside of its loop");
    simulate([&]() -> task<> { const auto lock = co_await guard.lock(); });
    EXPECT_TRUE(guard.try_lock());  // after its run it belongs to nobody again
}

// --- random schedules against a model that says exactly who has the lock

struct worker {
    explicit worker(int number) : id(number) {}
    int id;
    cancel_scope* scope = nullptr;
    mutex::scoped_lock held;
    bool was_cancelled = false;
};

/// The mutex as it is specified.
struct mutex_model {
    std::optional<int> holder;
    std::deque<int> waiting;
    std::vector<int> grants;
    std::vector<int> cancelled;

    void grant(int id) {
        holder = id;
        grants.push_back(id);
    }
    void arrive(int id) {
        if (holder) waiting.push_back(id);
        else grant(id);
    }
    void withdraw(int id) {
        std::erase(waiting, id);
        cancelled.push_back(id);
    }
    void unlock() {
        holder.reset();
        if (waiting.empty()) return;
        grant(waiting.front());
        waiting.pop_front();
    }
};

class mutex_world {
public:
    explicit mutex_world(std::uint64_t seed) : random_(seed) {}

    task<> play(task_group& group) {
        for (int step = 0; step < 120 && !failed(); ++step) {
            switch (random_() % 6) {
                case 0:
                case 1: co_await arrive(group); break;
                case 2: cancel_one(); break;
                case 3: unlock(); break;
                case 4: EXPECT_EQ(static_cast<bool>(guard_.try_lock()), !model_.holder); break;
                default: co_await settle();
            }
        }
        for (co_await settle(); model_.holder && !failed(); co_await settle()) unlock();
        if (failed()) group.cancel();
        EXPECT_FALSE(guard_.is_locked());
        EXPECT_EQ(model_.grants.size() + model_.cancelled.size(), workers_.size());
    }

private:
    static task<> work(mutex_world& world, worker& me) {
        const auto body = [&](task_group& group) -> task<> {
            me.scope = &group.scope();
            try {
                me.held = co_await world.guard_.lock();
                world.grants_.push_back(me.id);
            } catch (const cancelled&) {
                me.was_cancelled = true;
                throw;
            }
        };
        co_await with_task_group(body);
        me.scope = nullptr;
    }

    task<> arrive(task_group& group) {
        worker& fresh = workers_.emplace_back(static_cast<int>(workers_.size()));
        group.spawn(work, std::ref(*this), std::ref(fresh));
        model_.arrive(fresh.id);
        co_await settle();
    }

    /// Cancels one that waits, or one that was granted and does not know it yet.
    void cancel_one() {
        if (model_.waiting.empty()) return;
        const auto pick = random_() % (model_.waiting.size() + 1);
        if (pick == model_.waiting.size()) {
            worker& holder = at(*model_.holder);
            if (!holder.held) holder.scope->cancel();
            return;
        }
        const int id = model_.waiting[pick];
        at(id).scope->cancel();
        model_.withdraw(id);
    }

    void unlock() {
        if (!model_.holder || !at(*model_.holder).held) return;
        const int id = *model_.holder;
        model_.unlock();
        at(id).held.unlock();
    }

    /// Lets everybody run who can, and compares.
    task<> settle() {
        co_await yield();
        EXPECT_EQ(grants_, model_.grants);
        for (const worker& one : workers_) {
            const bool cancelled = std::ranges::count(model_.cancelled, one.id) == 1;
            if (one.was_cancelled == cancelled &&
                static_cast<bool>(one.held) == (model_.holder == one.id)) continue;
            ADD_FAILURE() << "worker " << one.id << " differs from the model";
        }
    }

    worker& at(int id) { return workers_[static_cast<std::size_t>(id)]; }

    std::mt19937_64 random_;
    mutex guard_;
    mutex_model model_;
    std::deque<worker> workers_;
    std::vector<int> grants_;
};

TEST(mutex_property, follows_the_model_under_random_schedules) {
    for (std::uint64_t seed = 1; seed <= 250 && !failed(); ++seed) {
        SCOPED_TRACE(seed);
        simulate([seed]() -> task<> {
            mutex_world world(seed);
            const auto body = [&](task_group& group) -> task<> { co_await world.play(group); };
            co_await with_task_group(body);
        });
    }
}

// --- random schedules in time

TEST(mutex_property, excludes_and_wakes_under_random_timeouts) {
    mutex guard;
    EXPECT_GT(contend_under_random_timeouts(guard), 250);  // the deadlines did matter
}

}  // namespace
}  // namespace coro
