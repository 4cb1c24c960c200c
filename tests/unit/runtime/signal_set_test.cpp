// signal_set: what is kept, who gets it, what is refused, dispositions. The program raises the
// signals itself, so all of it runs in virtual time.
#include <coro/runtime/signal_set.hpp>

#include <algorithm>
#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/core/when_any.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

using disposition = void (*)(int);
disposition disposition_of(int number) {
    struct sigaction present {};
    ::sigaction(number, nullptr, &present);
    return present.sa_handler;
}

task<> take_into(signal_set& from, std::vector<int>& into) {
    into.push_back(co_await from.next());
}

TEST(signal_set, a_task_waits_for_one) {
    simulate([]() -> task<> {
        signal_set signals{SIGHUP, SIGUSR1};
        std::vector<int> taken;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(take_into, std::ref(signals), std::ref(taken));
            co_await sleep_for(1s);
            EXPECT_TRUE(taken.empty());
            std::raise(SIGUSR1);
            EXPECT_TRUE(taken.empty()) << "nobody is resumed in the handler";
        };
        co_await with_task_group(body);
        EXPECT_EQ(taken, std::vector{SIGUSR1});
    });
}

TEST(signal_set, what_came_before_is_kept_and_several_count_as_one) {
    simulate([]() -> task<> {
        signal_set signals{SIGHUP, SIGUSR1, SIGUSR2};
        std::raise(SIGUSR2);
        std::raise(SIGHUP);
        std::raise(SIGUSR2);
        EXPECT_EQ(co_await signals.next(), SIGHUP);  // the lowest number first
        EXPECT_EQ(co_await signals.next(), SIGUSR2);
        EXPECT_FALSE(co_await move_on_after(1s, signals.next()));
        std::raise(SIGUSR2);
        EXPECT_EQ(co_await signals.next(), SIGUSR2);
    });
}

TEST(signal_set, every_set_learns_of_it) {
    simulate([]() -> task<> {
        signal_set one{SIGUSR1, SIGHUP};
        signal_set two{SIGUSR1};
        std::raise(SIGUSR1);
        EXPECT_EQ(co_await one.next(), SIGUSR1);
        EXPECT_EQ(co_await two.next(), SIGUSR1);
        std::raise(SIGHUP);
        EXPECT_EQ(co_await one.next(), SIGHUP);
        EXPECT_FALSE(co_await move_on_after(1s, two.next()));
    });
}

TEST(signal_set, waiters_are_served_in_order_one_signal_each) {
    simulate([]() -> task<> {
        signal_set signals{SIGUSR1, SIGUSR2};
        std::vector<int> first;
        std::vector<int> second;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(take_into, std::ref(signals), std::ref(first));
            group.spawn(take_into, std::ref(signals), std::ref(second));
            co_await yield();
            std::raise(SIGUSR2);
            co_await sleep_for(1ms);
            EXPECT_EQ(first, std::vector{SIGUSR2});
            EXPECT_TRUE(second.empty());
            std::raise(SIGUSR1);
        };
        co_await with_task_group(body);
        EXPECT_EQ(second, std::vector{SIGUSR1});
    });
}

TEST(signal_set, who_is_cancelled_takes_nothing) {
    simulate([]() -> task<> {
        signal_set signals{SIGUSR1};
        EXPECT_FALSE(co_await move_on_after(1s, signals.next()));
        std::raise(SIGUSR1);
        const auto late = [&]() -> task<int> { co_return co_await signals.next(); };
        // At the entry of a wait cancellation wins; the signal stays.
        const bool through = co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
            scope.cancel();
            co_await late();
        });
        EXPECT_FALSE(through);
        EXPECT_EQ(co_await signals.next(), SIGUSR1);
    });
}

task<> raise_after(duration span, int number) {
    co_await sleep_for(span);
    std::raise(number);
}

TEST(signal_set, sets_may_race) {
    simulate([]() -> task<> {
        signal_set one{SIGUSR1};
        signal_set two{SIGUSR2};
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(raise_after, 1s, SIGUSR2);
            auto winner = co_await when_any(one.next(), two.next());
            EXPECT_EQ(winner.index(), 1U);
        };
        co_await with_task_group(body);
    });
}

TEST(signal_set, one_that_is_on_its_way_when_the_set_goes_harms_nobody) {
    simulate([]() -> task<> {
        for (int i = 0; i < 100; ++i) {
            {
                signal_set signals{SIGUSR1};
                std::raise(SIGUSR1);
            }
            if (i % 3 == 0) co_await sleep_for(1ms);
        }
        // Also as the last thing that the program does.
        signal_set signals{SIGUSR1};
        std::raise(SIGUSR1);
    });
}

TEST(signal_set, dispositions_come_back_with_the_last_set) {
    const disposition before = disposition_of(SIGUSR1);
    simulate([before]() -> task<> {
        auto one = std::make_unique<signal_set>(std::initializer_list<int>{SIGUSR1});
        const disposition ours = disposition_of(SIGUSR1);
        EXPECT_NE(ours, before);
        auto two = std::make_unique<signal_set>(std::initializer_list<int>{SIGUSR1, SIGUSR1});
        one.reset();
        EXPECT_EQ(disposition_of(SIGUSR1), ours);
        std::raise(SIGUSR1);
        EXPECT_EQ(co_await two->next(), SIGUSR1);
        two.reset();
        EXPECT_EQ(disposition_of(SIGUSR1), before);
    });
}

std::string refusal_of(std::initializer_list<int> numbers) {
    try {
        const signal_set signals(numbers);
    } catch (const io_error& error) {
        EXPECT_EQ(error.code(), std::errc::invalid_argument);
        return error.what();
    }
    return "accepted";
}

TEST(signal_set, what_cannot_be_watched_is_refused_with_its_name_and_the_reason) {
    const disposition before = disposition_of(SIGUSR1);
    simulate([before]() -> task<> {
        EXPECT_EQ(refusal_of({SIGUSR1, SIGKILL}),
                  "watch SIGKILL, which cannot be caught: Invalid argument");
        EXPECT_EQ(refusal_of({SIGSTOP}), "watch SIGSTOP, which cannot be caught: Invalid argument");
        EXPECT_EQ(refusal_of({SIGSEGV}),
                  "watch SIGSEGV, which is a fault of the program itself: Invalid argument");
        for (const int none : {-1, 0, 32, 33, 65, 1000})
            EXPECT_EQ(refusal_of({none}), "watch signal " + std::to_string(none) +
                                              ", which does not exist: Invalid argument");
        EXPECT_EQ(refusal_of({}), "watch no signal at all: Invalid argument");
        EXPECT_EQ(refusal_of({SIGRTMIN, SIGRTMAX}), "accepted");
        EXPECT_EQ(disposition_of(SIGUSR1), before);
        co_return;
    });
}

TEST(signal_set, the_dump_names_the_signals) {
    simulate([]() -> task<> {
        signal_set signals{SIGHUP, SIGUSR1, SIGRTMIN + 1};
        std::vector<int> taken;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(take_into, std::ref(signals), std::ref(taken));
            co_await yield();
            const std::string dump = dump_tasks();
            EXPECT_NE(dump.find("wait for SIGHUP SIGUSR1 signal 35"), std::string::npos) << dump;
            std::raise(SIGHUP);
        };
        co_await with_task_group(body);
    });
}

task<> keep(std::unique_ptr<signal_set>& where) {
    where = std::make_unique<signal_set>(std::initializer_list<int>{SIGUSR1});
    co_return;
}

TEST(signal_set_death_test, one_that_outlives_its_loop_aborts) {
    ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
    std::unique_ptr<signal_set> kept;
    EXPECT_DEATH(run(keep(kept), {.poller = poller_choice::simulation}),
                 "a signal_set outlives its loop");
}

TEST(signal_set_death_test, one_outside_of_run_aborts) {
    ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
    EXPECT_DEATH(signal_set({SIGUSR1}), "a signal_set is made inside of run");
}

}  // namespace
}  // namespace coro
