// event: set, reset, cancellation, deadlines; random schedules against a model.
#include <coro/runtime/event.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
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

task<> pass(event& gate, int id, std::vector<int>& order) {
    co_await gate.wait();
    order.push_back(id);
}

TEST(event, lets_pass_at_once_while_it_is_set) {
    simulate([]() -> task<> {
        event gate;
        EXPECT_FALSE(gate.is_set());
        gate.set();
        gate.set();
        EXPECT_TRUE(gate.is_set());
        const auto resumed = current_loop_stats().resumed;
        co_await gate.wait();
        co_await gate.wait();
        EXPECT_EQ(current_loop_stats().resumed, resumed);
        gate.reset();
        EXPECT_FALSE(co_await move_on_after(1ms, gate.wait()));
    });
}

TEST(event, set_lets_all_waiters_pass_in_order_even_if_reset_at_once) {
    simulate([]() -> task<> {
        event gate;
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            for (int id = 0; id < 4; ++id) group.spawn(pass, std::ref(gate), id, std::ref(order));
            co_await yield();
            gate.set();
            gate.reset();
            EXPECT_TRUE(order.empty());  // nobody is resumed in place
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
        EXPECT_FALSE(gate.is_set());
    });
}

TEST(event, may_be_destroyed_once_its_waiters_were_let_pass) {
    simulate([]() -> task<> {
        auto gate = std::make_unique<event>();
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(pass, std::ref(*gate), 7, std::ref(order));
            co_await yield();
            gate->set();
            gate.reset();
        };
        co_await with_task_group(body);
        EXPECT_EQ(order, (std::vector{7}));
    });
}

TEST(event, cancellation_wins_at_entry_even_when_it_is_set) {
    simulate([]() -> task<> {
        event gate;
        gate.set();
        bool passed = false;
        const auto body = [&](task_group& group) -> task<> {
            group.cancel();
            co_await gate.wait();
            passed = true;
        };
        co_await with_task_group(body);
        EXPECT_FALSE(passed);
    });
}

/// What becomes of with_deadline around a wait when set() falls into the very same instant.
task<bool> set_at_the_deadline(bool set_first) {
    event gate;
    const time_point when = now() + 10ms;
    alarm bell([&] {
        gate.set();
        gate.reset();
    });
    bool passed = false;
    const auto body = [&](task_group& group) -> task<> {
        if (set_first) bell.arm(when);
        else group.spawn(arm_later, std::ref(bell), when);
        try {
            co_await with_deadline(when, gate.wait());
            passed = true;
        } catch (const io_error& error) {
            EXPECT_EQ(error.code(), errc::deadline_exceeded);
        }
        EXPECT_EQ(now(), when);
    };
    co_await with_task_group(body);
    co_return passed;
}

TEST(event, set_and_deadline_in_one_instant) {
    simulate([]() -> task<> {
        EXPECT_TRUE(co_await set_at_the_deadline(true));
        EXPECT_FALSE(co_await set_at_the_deadline(false));
    });
}

TEST(event, a_grant_withdraws_the_sibling_that_waits_for_the_same_event) {
    simulate([]() -> task<> {
        event gate;
        std::vector<int> order;
        const auto either = [](event& of, std::vector<int>& passed) -> task<> {
            const auto both = co_await when_any(of.wait(), of.wait());
            EXPECT_EQ(both.index(), 0U);
            EXPECT_TRUE(both.has_value<0>());
            EXPECT_FALSE(both.has_value<1>());
            passed.push_back(0);
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(either, std::ref(gate), std::ref(order));
            co_await sleep_for(1ms);
            group.spawn(pass, std::ref(gate), 1, std::ref(order));
            co_await sleep_for(1ms);
            gate.set();
        };
        co_await with_task_group(body);
        std::ranges::sort(order);
        EXPECT_EQ(order, (std::vector{0, 1}));
    });
}

TEST(event, one_that_is_always_set_starves_nobody) {
    simulate([]() -> task<> {
        event gate;
        gate.set();
        int rounds = 0;
        int seen = -1;
        const auto other = [](const int& counter, int& saw) -> task<> {
            saw = counter;
            co_return;
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(other, std::cref(rounds), std::ref(seen));
            for (; rounds < 1000; ++rounds) co_await gate.wait();
        };
        co_await with_task_group(body);
        EXPECT_GE(seen, 1);
        EXPECT_LE(seen, detail::inline_completions);
    });
}

TEST(event, a_dump_names_the_wait) {
    simulate([]() -> task<> {
        event gate;
        std::vector<int> order;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(pass, std::ref(gate), 1, std::ref(order));
            co_await yield();
            EXPECT_NE(dump_tasks().find("wait for event"), std::string::npos);
            gate.set();
        };
        co_await with_task_group(body);
    });
}

TEST(event_death, destruction_while_a_task_waits_aborts) {
    const auto misuse = [] {
        simulate([]() -> task<> {
            auto gate = std::make_unique<event>();
            std::vector<int> order;
            const auto body = [&](task_group& group) -> task<> {
                group.spawn(pass, std::ref(*gate), 1, std::ref(order));
                co_await yield();
                gate.reset();
            };
            co_await with_task_group(body);
        });
    };
    EXPECT_DEATH(misuse(), "an event was destroyed while a task waits for it");
}

TEST(event_death, use_outside_of_its_loop_aborts) {
    event gate;
    gate.set();  // before anybody has awaited it, it belongs to nobody
    // The whole run is in the child: what a run of the parent has used is free there.
    const auto misuse = [&] {
        simulate([&]() -> task<> {
            co_await gate.wait();
            std::thread([&] { gate.set(); }).join();
        });
    };
    EXPECT_DEATH(misuse(), "used outside of its loop");
    simulate([&]() -> task<> { co_await gate.wait(); });
    EXPECT_TRUE(gate.is_set());  // after its run it belongs to nobody again
}

// --- random schedules against a model that says exactly who has passed

struct visitor {
    explicit visitor(int number) : id(number) {}
    int id;
    cancel_scope* scope = nullptr;
    bool was_cancelled = false;
};

class event_world {
public:
    explicit event_world(std::uint64_t seed) : random_(seed) {}

    task<> play(task_group& group) {
        for (int step = 0; step < 120 && !failed(); ++step) {
            switch (random_() % 7) {
                case 0:
                case 1:
                case 2: co_await arrive(group); break;
                case 3: cancel_one(); break;
                case 4: set(); break;
                case 5: reset(); break;
                default: co_await settle();
            }
            EXPECT_EQ(gate_.is_set(), is_set_);
        }
        set();
        co_await settle();
        if (failed()) group.cancel();
        EXPECT_EQ(expected_.size() + cancelled_.size(), visitors_.size());
    }

private:
    static task<> visit(event_world& world, visitor& me) {
        const auto body = [&](task_group& group) -> task<> {
            me.scope = &group.scope();
            try {
                co_await world.gate_.wait();
                world.passed_.push_back(me.id);
            } catch (const cancelled&) {
                me.was_cancelled = true;
                throw;
            }
        };
        co_await with_task_group(body);
        me.scope = nullptr;
    }

    task<> arrive(task_group& group) {
        visitor& fresh = visitors_.emplace_back(static_cast<int>(visitors_.size()));
        group.spawn(visit, std::ref(*this), std::ref(fresh));
        if (is_set_) expected_.push_back(fresh.id);
        else waiting_.push_back(fresh.id);
        co_await settle();
    }

    void set() {
        gate_.set();
        is_set_ = true;
        for (const int id : waiting_) expected_.push_back(id);
        waiting_.clear();
    }
    void reset() {
        gate_.reset();
        is_set_ = false;
    }

    /// Cancels anybody who has not gone on: that counts for those who wait, and for nobody else.
    void cancel_one() {
        if (visitors_.empty()) return;
        visitor& one = visitors_[random_() % visitors_.size()];
        if (one.scope == nullptr) return;
        one.scope->cancel();
        if (std::erase(waiting_, one.id) == 1) cancelled_.push_back(one.id);
    }

    /// Lets everybody run who can, and compares.
    task<> settle() {
        co_await yield();
        EXPECT_EQ(passed_, expected_);
        for (const visitor& one : visitors_) {
            if (one.was_cancelled == (std::ranges::count(cancelled_, one.id) == 1)) continue;
            ADD_FAILURE() << "visitor " << one.id << " differs from the model";
        }
    }

    std::mt19937_64 random_;
    event gate_;
    bool is_set_ = false;
    std::vector<int> waiting_;
    std::vector<int> expected_;
    std::vector<int> cancelled_;
    std::deque<visitor> visitors_;
    std::vector<int> passed_;
};

TEST(event_property, follows_the_model_under_random_schedules) {
    for (std::uint64_t seed = 1; seed <= 250 && !failed(); ++seed) {
        SCOPED_TRACE(seed);
        simulate([seed]() -> task<> {
            event_world world(seed);
            const auto body = [&](task_group& group) -> task<> { co_await world.play(group); };
            co_await with_task_group(body);
        });
    }
}

// --- random schedules in time: whoever waits while the event pulses is woken by that very pulse

struct lighthouse {
    explicit lighthouse(std::uint64_t seed) : random(seed) {}
    duration span(int most) {
        return std::chrono::microseconds(500) * static_cast<int>(random() % unsigned(most));
    }
    std::mt19937_64 random;
    event light;
    std::vector<time_point> pulses;
    int seen = 0;
    int missed = 0;
};

task<> watch(lighthouse& of) {
    for (int round = 0; round < 8; ++round) {
        co_await sleep_for(of.span(10));
        const time_point from = now();
        const bool saw = co_await move_on_after(of.span(20), of.light.wait());
        const time_point until = now();
        for (const time_point pulse : of.pulses) EXPECT_FALSE(pulse > from && pulse < until);
        if (saw) {
            EXPECT_EQ(of.pulses.back(), until);
        }
        ++(saw ? of.seen : of.missed);
    }
}

TEST(event_property, no_wakeup_is_lost_under_random_timeouts) {
    int seen = 0;
    int missed = 0;
    for (std::uint64_t seed = 1; seed <= 250 && !failed(); ++seed) {
        SCOPED_TRACE(seed);
        simulate([&, seed]() -> task<> {
            lighthouse tower(seed);
            const auto body = [&](task_group& group) -> task<> {
                for (int i = 0; i < 5; ++i) group.spawn(watch, std::ref(tower));
                for (int i = 0; i < 15; ++i) {
                    co_await sleep_for(tower.span(12));
                    tower.pulses.push_back(now());
                    tower.light.set();
                    tower.light.reset();
                }
            };
            co_await with_task_group(body);
            seen += tower.seen;
            missed += tower.missed;
        });
    }
    EXPECT_GT(seen, 250);
    EXPECT_GT(missed, 250);
}

}  // namespace
}  // namespace coro
