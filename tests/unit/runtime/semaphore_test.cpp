// semaphore: order of grants, permits conserved, cancellation, deadlines; random schedules
// against a model.
#include <coro/runtime/semaphore.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/core/when_any.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

static_assert(!std::is_copy_constructible_v<semaphore::permit>);
static_assert(std::is_nothrow_move_constructible_v<semaphore::permit>);
static_assert(!std::is_move_constructible_v<semaphore>);

task<> hold_for_1ms(semaphore& slots, std::size_t amount, int id, std::vector<int>& order) {
    const auto held = co_await slots.acquire(amount);
    EXPECT_EQ(held.amount(), amount);
    order.push_back(id);
    co_await sleep_for(1ms);
}

TEST(semaphore, grants_at_once_what_is_free) {
    simulate([]() -> task<> {
        semaphore slots(3);
        const auto resumed = current_loop_stats().resumed;
        {
            const auto one = co_await slots.acquire();
            const auto two = co_await slots.acquire(2);
            EXPECT_EQ(one.amount(), 1U);
            EXPECT_EQ(two.amount(), 2U);
            EXPECT_EQ(slots.available(), 0U);
            EXPECT_FALSE(slots.try_acquire());
        }
        EXPECT_EQ(slots.available(), 3U);
        EXPECT_EQ(slots.count(), 3U);
        EXPECT_EQ(current_loop_stats().resumed, resumed);
    });
}

TEST(semaphore, a_permit_moves_and_can_be_given_back_early) {
    simulate([]() -> task<> {
        semaphore slots(5);
        auto first = slots.try_acquire(2);
        semaphore::permit second = std::move(first);
        EXPECT_FALSE(first);  // NOLINT: moved from on purpose
        EXPECT_EQ(first.amount(), 0U);
        EXPECT_EQ(second.amount(), 2U);
        second = co_await slots.acquire(3);
        EXPECT_EQ(slots.available(), 2U);
        second.release();
        second.release();
        EXPECT_FALSE(second);
        EXPECT_EQ(slots.available(), 5U);
    });
}

TEST(semaphore, a_large_request_at_the_head_blocks_later_small_ones) {
    simulate([]() -> task<> {
        semaphore slots(3);
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            auto held = co_await slots.acquire(2);
            group.spawn(hold_for_1ms, std::ref(slots), 3U, 0, std::ref(order));
            group.spawn(hold_for_1ms, std::ref(slots), 1U, 1, std::ref(order));
            co_await sleep_for(10ms);
            EXPECT_EQ(slots.available(), 1U);  // free, but promised to nobody out of order
            EXPECT_FALSE(slots.try_acquire());
            EXPECT_TRUE(order.empty());
            held.release();
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{0, 1}));
        EXPECT_EQ(slots.available(), 3U);
    });
}

TEST(semaphore, withdrawing_the_large_request_serves_those_behind_it) {
    simulate([]() -> task<> {
        semaphore slots(3);
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            const auto held = co_await slots.acquire(1);
            const auto large = [](semaphore& of) -> task<> {
                EXPECT_FALSE(co_await move_on_after(5ms, of.acquire(3)));
            };
            group.spawn(large, std::ref(slots));
            group.spawn(hold_for_1ms, std::ref(slots), 1U, 1, std::ref(order));
            group.spawn(hold_for_1ms, std::ref(slots), 1U, 2, std::ref(order));
            co_await sleep_for(4ms);
            EXPECT_TRUE(order.empty());
            co_await sleep_for(2ms);
            EXPECT_EQ(order, (std::vector{1, 2}));
        };
        co_await with_task_group(body);
        EXPECT_EQ(slots.available(), 3U);
    });
}

TEST(semaphore, cancellation_wins_at_entry_even_when_permits_are_free) {
    simulate([]() -> task<> {
        semaphore slots(1);
        bool held = false;
        const auto body = [&](task_group& group) -> task<> {
            group.cancel();
            const auto permit = co_await slots.acquire();
            held = true;
        };
        co_await with_task_group(body);
        EXPECT_FALSE(held);
        EXPECT_EQ(slots.available(), 1U);
    });
}

/// What becomes of with_deadline around acquire when the release falls into the very same instant.
task<bool> granted_at_the_deadline(bool grant_first) {
    semaphore slots(2);
    auto holder = slots.try_acquire(2);
    const time_point when = now() + 10ms;
    alarm bell([&] { holder.release(); });
    bool taken = false;
    const auto body = [&](task_group& group) -> task<> {
        if (grant_first) bell.arm(when);
        else group.spawn(arm_later, std::ref(bell), when);
        try {
            const auto permit = co_await with_deadline(when, slots.acquire());
            taken = true;
        } catch (const io_error& error) {
            EXPECT_EQ(error.code(), errc::deadline_exceeded);
        }
        EXPECT_EQ(now(), when);
    };
    co_await with_task_group(body);
    EXPECT_EQ(slots.available(), 2U);
    co_return taken;
}

TEST(semaphore, grant_and_deadline_in_one_instant_lose_nothing) {
    simulate([]() -> task<> {
        EXPECT_TRUE(co_await granted_at_the_deadline(true));
        EXPECT_FALSE(co_await granted_at_the_deadline(false));
    });
}

TEST(semaphore, of_two_requests_in_when_any_one_is_granted) {
    simulate([]() -> task<> {
        semaphore slots(4);
        const auto body = [&](task_group& group) -> task<> {
            auto held = co_await slots.acquire(4);
            const auto either = [](semaphore& of) -> task<> {
                auto both = co_await when_any(of.acquire(3), of.acquire(1));
                EXPECT_EQ(both.index(), 0U);
                EXPECT_FALSE(both.has_value<1>());
                EXPECT_EQ(of.available(), 1U);
            };
            group.spawn(either, std::ref(slots));
            co_await sleep_for(1ms);
            held.release();
        };
        co_await with_task_group(body);
        EXPECT_EQ(slots.available(), 4U);
    });
}

TEST(semaphore, one_that_is_always_free_starves_nobody) {
    simulate([]() -> task<> {
        semaphore slots(2);
        int rounds = 0;
        int seen = -1;
        const auto other = [](const int& counter, int& saw) -> task<> {
            saw = counter;
            co_return;
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(other, std::cref(rounds), std::ref(seen));
            for (; rounds < 1000; ++rounds) const auto permit = co_await slots.acquire(2);
        };
        co_await with_task_group(body);
        EXPECT_GE(seen, 1);
        EXPECT_LE(seen, detail::inline_completions);
    });
}

TEST(semaphore, a_dump_names_the_wait) {
    simulate([]() -> task<> {
        semaphore slots(2);
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            const auto held = co_await slots.acquire();
            group.spawn(hold_for_1ms, std::ref(slots), 2U, 1, std::ref(order));
            co_await yield();
            EXPECT_NE(dump_tasks().find("acquire 2 of semaphore"), std::string::npos);
        };
        co_await with_task_group(body);
    });
}

TEST(semaphore_death, what_could_never_be_granted_aborts) {
    EXPECT_DEATH(semaphore(0), "a semaphore of 0 permits");
    semaphore slots(2);
    EXPECT_DEATH(static_cast<void>(slots.try_acquire(3)), "more than the semaphore has");
    EXPECT_DEATH(static_cast<void>(slots.try_acquire(0)), "acquire of no permit");
}

TEST(semaphore_death, destruction_before_the_permits_came_back_aborts) {
    const auto misuse = [] {
        semaphore::permit held;
        semaphore slots(1);
        held = slots.try_acquire();
    };
    EXPECT_DEATH(misuse(), "destroyed before its permits came back");
}

// --- random schedules against a model that says exactly who holds what

struct client {
    client(int number, std::size_t wanted) : id(number), amount(wanted) {}
    int id;
    std::size_t amount;
    cancel_scope* scope = nullptr;
    semaphore::permit held;
    bool was_cancelled = false;
};

/// The semaphore as it is specified.
struct semaphore_model {
    struct request {
        int id;
        std::size_t amount;
    };
    std::size_t available = 0;
    std::deque<request> waiting;
    std::vector<int> grants;
    std::vector<int> holders;
    std::vector<int> cancelled;

    void serve() {
        while (!waiting.empty() && waiting.front().amount <= available) {
            available -= waiting.front().amount;
            grants.push_back(waiting.front().id);
            holders.push_back(waiting.front().id);
            waiting.pop_front();
        }
    }
    void arrive(int id, std::size_t amount) {
        waiting.push_back({id, amount});
        serve();
    }
    void withdraw(int id) {
        std::erase_if(waiting, [id](const request& one) { return one.id == id; });
        cancelled.push_back(id);
        serve();
    }
    void release(int id, std::size_t amount) {
        std::erase(holders, id);
        available += amount;
        serve();
    }
};

class semaphore_world {
public:
    explicit semaphore_world(std::uint64_t seed) : random_(seed) {
        slots_.emplace(1 + random_() % 5);
        model_.available = slots_->count();
    }

    task<> play(task_group& group) {
        for (int step = 0; step < 120 && !failed(); ++step) {
            switch (random_() % 7) {
                case 0:
                case 1: co_await arrive(group); break;
                case 2: cancel_one(); break;
                case 3:
                case 4: release_one(); break;
                case 5: try_one(); break;
                default: co_await settle();
            }
            EXPECT_EQ(slots_->available(), model_.available);
        }
        for (co_await settle(); !model_.holders.empty() && !failed(); co_await settle())
            release_one();
        if (failed()) group.cancel();
        EXPECT_EQ(slots_->available(), slots_->count());
        EXPECT_EQ(model_.grants.size() + model_.cancelled.size(), clients_.size());
    }

private:
    static task<> work(semaphore_world& world, client& me) {
        const auto body = [&](task_group& group) -> task<> {
            me.scope = &group.scope();
            try {
                me.held = co_await world.slots_->acquire(me.amount);
                world.grants_.push_back(me.id);
            } catch (const cancelled&) {
                me.was_cancelled = true;
                throw;
            }
        };
        co_await with_task_group(body);
        me.scope = nullptr;
    }

    std::size_t any_amount() { return 1 + random_() % slots_->count(); }

    task<> arrive(task_group& group) {
        co_await settle();  // those who hold a grant go on before the newcomer
        const int id = static_cast<int>(clients_.size());
        client& fresh = clients_.emplace_back(id, any_amount());
        group.spawn(work, std::ref(*this), std::ref(fresh));
        model_.arrive(fresh.id, fresh.amount);
        co_await settle();
    }

    /// Cancels one that waits, or one that was granted and does not know it yet.
    void cancel_one() {
        if (clients_.empty()) return;
        client& one = clients_[random_() % clients_.size()];
        if (one.scope == nullptr) return;
        one.scope->cancel();
        const auto is_it = [&](const auto& waiting) { return waiting.id == one.id; };
        if (std::ranges::any_of(model_.waiting, is_it)) model_.withdraw(one.id);
    }

    void release_one() {
        if (model_.holders.empty()) return;
        client& one = at(model_.holders[random_() % model_.holders.size()]);
        if (!one.held) return;
        model_.release(one.id, one.amount);
        one.held.release();
    }

    void try_one() {
        const std::size_t amount = any_amount();
        const bool expected = model_.waiting.empty() && amount <= model_.available;
        EXPECT_EQ(static_cast<bool>(slots_->try_acquire(amount)), expected);
    }

    /// Lets everybody run who can, and compares.
    task<> settle() {
        co_await yield();
        EXPECT_EQ(grants_, model_.grants);
        for (const client& one : clients_) {
            const bool cancelled = std::ranges::count(model_.cancelled, one.id) == 1;
            const bool holds = std::ranges::count(model_.holders, one.id) == 1;
            if (one.was_cancelled == cancelled && static_cast<bool>(one.held) == holds) continue;
            ADD_FAILURE() << "client " << one.id << " differs from the model";
        }
    }

    client& at(int id) { return clients_[static_cast<std::size_t>(id)]; }

    std::mt19937_64 random_;
    std::optional<semaphore> slots_;
    semaphore_model model_;
    std::deque<client> clients_;
    std::vector<int> grants_;
};

TEST(semaphore_property, follows_the_model_under_random_schedules) {
    for (std::uint64_t seed = 1; seed <= 250 && !failed(); ++seed) {
        SCOPED_TRACE(seed);
        simulate([seed]() -> task<> {
            semaphore_world world(seed);
            const auto body = [&](task_group& group) -> task<> { co_await world.play(group); };
            co_await with_task_group(body);
        });
    }
}

// --- random schedules in time

struct contest {
    explicit contest(std::uint64_t seed) : random(seed), slots(1 + random() % 4) {}
    duration span(int most) {
        return std::chrono::microseconds(250) * static_cast<int>(random() % unsigned(most));
    }
    std::mt19937_64 random;
    semaphore slots;
    std::size_t inside = 0;
    int held = 0;
    int late = 0;
};

task<> use(contest& in, std::size_t amount) {
    in.inside += amount;
    EXPECT_LE(in.inside, in.slots.count());
    ++in.held;
    if (in.random() % 2 == 0) co_await sleep_for(in.span(8));
    in.inside -= amount;
}

task<> contend(contest& in) {
    for (int round = 0; round < 8; ++round) {
        co_await sleep_for(in.span(8));
        const std::size_t amount = 1 + in.random() % in.slots.count();
        if (in.random() % 3 == 0) {
            const auto permit = co_await in.slots.acquire(amount);
            co_await use(in, amount);
        } else if (const auto permit = co_await move_on_after(in.span(12),
                                                              in.slots.acquire(amount))) {
            co_await use(in, amount);
        } else {
            ++in.late;
        }
    }
}

TEST(semaphore_property, permits_are_conserved_under_random_timeouts) {
    int late = 0;
    for (std::uint64_t seed = 1; seed <= 250 && !failed(); ++seed) {
        SCOPED_TRACE(seed);
        simulate([seed, &late]() -> task<> {
            contest all(seed);
            const auto body = [&](task_group& group) -> task<> {
                for (int i = 0; i < 6; ++i) group.spawn(contend, std::ref(all));
                co_return;
            };
            co_await with_task_group(body);
            EXPECT_EQ(all.held + all.late, 48);
            EXPECT_EQ(all.slots.available(), all.slots.count());
            late += all.late;
        });
    }
    EXPECT_GT(late, 250);  // the deadlines did matter
}

}  // namespace
}  // namespace coro
