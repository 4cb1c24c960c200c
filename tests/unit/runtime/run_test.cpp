// run and run_main: what they answer, what they throw, exit codes, signals, nesting.
#include <coro/runtime/run.hpp>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/with_cleanup.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class run_test : public core_test {};

static_assert(std::is_trivially_destructible_v<coro::run_options>);
static_assert(std::is_aggregate_v<coro::run_options>);

TEST_F(run_test, answers_the_value_of_the_task) {
    EXPECT_EQ(simulate(value_after(1h, 3)), 3);
    EXPECT_EQ(*simulate([]() -> coro::task<std::unique_ptr<int>> {
        co_return std::make_unique<int>(4);
    }()), 4);
    simulate([]() -> coro::task<> { co_return; }());
    EXPECT_EQ(simulate([]() -> coro::task<int> { co_return 5; }()), 5);  // never suspended
}

TEST_F(run_test, throws_what_the_task_threw) {
    EXPECT_THROW(simulate(failure_after(1ms, "x")), std::runtime_error);
    EXPECT_THROW(simulate([]() -> coro::task<> {
                     throw 5;
                     co_return;
                 }()),
                 int);
}

TEST_F(run_test, cancelled_never_leaves_it) {
    EXPECT_THROW(simulate([]() -> coro::task<> {
                     throw coro::cancelled();
                     co_return;
                 }()),
                 coro::interrupted);
}

TEST_F(run_test, may_run_again_and_again) {
    for (int i = 0; i < 20; ++i) EXPECT_EQ(simulate(value_after(1ms, i)), i);
}

TEST_F(run_test, a_simulation_may_have_several_loops) {
    const auto body = []() -> coro::task<> {
        EXPECT_EQ(coro::loop_count(), 5u);
        co_await coro::sleep_for(1ms);
    };
    coro::run(body(), {.poller = coro::poller_choice::simulation, .loops = 5});
    EXPECT_EQ(coro::detail::current, nullptr);
}

TEST_F(run_test, says_which_poller_runs_and_why) {
    simulate([]() -> coro::task<> {
        EXPECT_NE(coro::poller_reason().find("simulation"), std::string_view::npos)
            << coro::poller_reason();
        co_return;
    }());
}

using run_death_test = run_test;

TEST_F(run_death_test, a_nested_run_aborts) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     simulate(sleep_task(1ms));
                     co_return;
                 }()),
                 "run\\(\\) inside of run\\(\\) on one thread: co_await the task instead");
}

// --- run_main: exit codes, in child processes

constexpr coro::run_options in_simulation{.poller = coro::poller_choice::simulation};
/// Signals are handled where time is real.
constexpr coro::run_options with_signals{.poller = coro::poller_choice::epoll};

TEST_F(run_death_test, run_main_answers_0_or_the_code_of_the_task) {
    EXPECT_EXIT(std::exit(coro::run_main(sleep_task(1ms), in_simulation)),
                testing::ExitedWithCode(0), "^$");
    EXPECT_EXIT(std::exit(coro::run_main(value_after(1ms, 7), in_simulation)),
                testing::ExitedWithCode(7), "^$");
}

TEST_F(run_death_test, run_main_makes_one_line_and_1_of_an_exception) {
    EXPECT_EXIT(std::exit(coro::run_main(failure_after(1ms, "no more"), in_simulation)),
                testing::ExitedWithCode(1), "^coro: main ended: no more\n$");
    EXPECT_EXIT(std::exit(coro::run_main([]() -> coro::task<> {
                    throw coro::io_error(std::make_error_code(std::errc::connection_refused),
                                         "connect", "tcp 127.0.0.1:1");
                    co_return;
                }(), in_simulation)),
                testing::ExitedWithCode(1),
                "^coro: main ended: connect tcp 127.0.0.1:1: Connection refused\n$");
    EXPECT_EXIT(std::exit(coro::run_main([]() -> coro::task<> {
                    throw 5;
                    co_return;
                }(), in_simulation)),
                testing::ExitedWithCode(1), "an exception that is no std::exception\n$");
}

coro::task<> raise_and_wait(int signal) {
    std::raise(signal);
    co_await coro::sleep_for(1h);
}

TEST_F(run_death_test, an_orderly_end_after_a_signal_is_0) {
    EXPECT_EXIT(std::exit(coro::run_main(raise_and_wait(SIGINT), with_signals)),
                testing::ExitedWithCode(0), "^$");
    EXPECT_EXIT(std::exit(coro::run_main(raise_and_wait(SIGTERM), with_signals)),
                testing::ExitedWithCode(0), "^$");
}

TEST_F(run_death_test, an_error_while_it_ends_after_a_signal_is_1) {
    EXPECT_EXIT(std::exit(coro::run_main([]() -> coro::task<> {
                    try {
                        co_await raise_and_wait(SIGINT);
                    } catch (const coro::cancelled&) {
                        throw std::runtime_error("at the end");
                    }
                }(), with_signals)),
                testing::ExitedWithCode(1), "^coro: main ended: at the end\n$");
}

TEST_F(run_test, a_signal_that_ends_it_becomes_interrupted_with_its_number) {
    try {
        coro::run(raise_and_wait(SIGTERM), with_signals);
        FAIL() << "must throw";
    } catch (const coro::interrupted& end) {
        EXPECT_EQ(end.signal(), SIGTERM);
    }
}

TEST_F(run_test, a_value_in_spite_of_a_signal_is_answered) {
    EXPECT_EQ(coro::run([]() -> coro::task<int> {
        std::raise(SIGINT);
        co_await coro::shield(coro::sleep_for(1ms));
        EXPECT_TRUE(coro::stop_requested());
        EXPECT_TRUE(coro::is_cancelled());
        co_return 5;
    }(), with_signals), 5);
}

TEST_F(run_test, with_a_drain_the_first_signal_only_requests_a_stop) {
    coro::run_options options = with_signals;
    options.drain = 1h;
    EXPECT_EQ(coro::run([]() -> coro::task<int> {
        std::raise(SIGINT);
        while (!coro::stop_requested()) co_await coro::sleep_for(1ms);
        EXPECT_FALSE(coro::is_cancelled());
        co_await coro::sleep_for(1ms);
        co_return 6;
    }(), options), 6);
}

TEST_F(run_test, the_end_of_the_drain_cancels) {
    coro::run_options options = with_signals;
    options.drain = 2ms;
    EXPECT_THROW(coro::run(raise_and_wait(SIGINT), options), coro::interrupted);
}

TEST_F(run_test, the_second_signal_cancels_at_once) {
    coro::run_options options = with_signals;
    options.drain = 1h;
    EXPECT_THROW(coro::run([]() -> coro::task<> {
        std::raise(SIGINT);
        co_await raise_and_wait(SIGINT);
    }(), options), coro::interrupted);
}

TEST_F(run_death_test, the_third_signal_has_its_default_action_even_in_a_stuck_loop) {
    EXPECT_EXIT(coro::run([]() -> coro::task<> {
                    for (int i = 0; i < 3; ++i) std::raise(SIGTERM);
                    for (;;) {
                    }
                    co_return;
                }(), with_signals),
                testing::KilledBySignal(SIGTERM), "");
}

void ignore_signal(int) {}

TEST_F(run_test, dispositions_are_restored_and_can_be_left_alone) {
    const auto before = std::signal(SIGINT, &ignore_signal);
    coro::run([]() -> coro::task<> { co_return; }(), with_signals);
    EXPECT_EQ(std::signal(SIGINT, &ignore_signal), &ignore_signal);
    coro::run([]() -> coro::task<> {
        std::raise(SIGINT);
        co_await coro::sleep_for(1ms);
        EXPECT_FALSE(coro::stop_requested());
    }(), {.poller = coro::poller_choice::epoll, .signals = coro::signal_policy::leave});
    std::signal(SIGINT, before);
}

}  // namespace
}  // namespace coro_test
