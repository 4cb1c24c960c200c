// Combinators that own their tasks are run and spawned.
#include <stdexcept>
#include <stop_token>
#include <string>
#include <tuple>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/when_all.hpp>
#include <coro/core/when_any.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/stop_token.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class run_operation_test : public core_test {};
class spawn_operation_test : public core_test {};
class spawn_operation_death_test : public core_test {};

constexpr coro::run_options simulated{.poller = coro::poller_choice::simulation};
const std::string long_text = "text that is too long for a small string";

coro::task<std::string> text_after(coro::duration span, std::string text) {
    co_await coro::sleep_for(span);
    co_return text;
}
/// Notes when it has ended, however it ends.
struct end_note {
    explicit end_note(std::vector<std::string>& to, std::string text)
        : log(to), what(std::move(text)) {}
    end_note(const end_note&) = delete;
    end_note& operator=(const end_note&) = delete;
    ~end_note() { log.push_back(what); }
    std::vector<std::string>& log;
    std::string what;
};
coro::task<> noting(coro::duration span, std::vector<std::string>& log, std::string text) {
    const end_note note(log, text);
    co_await coro::sleep_for(span);
    log.push_back(text + " slept");
}
coro::task<> noting_failure(coro::duration span) {
    co_await coro::sleep_for(span);
    throw std::runtime_error("failed in time");
}

TEST_F(run_operation_test, each_combinator_of_tasks_returns_what_its_await_would) {
    EXPECT_EQ(coro::run(coro::with_timeout(1s, text_after(1ms, long_text)), simulated), long_text);
    EXPECT_EQ(coro::run(coro::with_deadline(coro::never, value_after(1ms, 2)), simulated), 2);
    EXPECT_EQ(coro::run(coro::shield(value_after(1ms, 3)), simulated), 3);
    EXPECT_EQ(coro::run(coro::move_on_after(1s, value_after(1ms, 4)), simulated), 4);
    EXPECT_TRUE(coro::run(coro::move_on_after(1s, sleep_task(1ms)), simulated));
    EXPECT_EQ(*coro::run(coro::as_result(value_after(1ms, 5)), simulated), 5);
    const auto [one, text] =
        coro::run(coro::when_all(value_after(2ms, 1), text_after(1ms, long_text)), simulated);
    EXPECT_EQ(one, 1);
    EXPECT_EQ(text, long_text);
    auto first = coro::run(coro::when_any(sleep_task(1h), text_after(1ms, long_text)), simulated);
    EXPECT_EQ(first.index(), 1u);
    EXPECT_EQ(first.get<1>(), long_text);
    std::stop_source source;
    EXPECT_TRUE(coro::run(coro::with_stop_token(source.get_token(), sleep_task(1ms)), simulated));
    EXPECT_EQ(coro::run(coro::with_stop_source(source, value_after(1ms, 6)), simulated), 6);
    EXPECT_FALSE(source.stop_requested());
    EXPECT_EQ(coro::run(coro::when_all(), simulated), std::tuple<>());
}

TEST_F(run_operation_test, a_list_of_tasks_is_run) {
    std::vector<coro::task<int>> all;
    std::vector<coro::task<int>> any;
    for (int i = 0; i < 20; ++i) {
        all.push_back(value_after(1ms, i));
        any.push_back(value_after(1h - std::chrono::minutes(i), i));
    }
    const std::vector<int> values = coro::run(coro::when_all(std::move(all)), simulated);
    ASSERT_EQ(values.size(), 20u);
    EXPECT_EQ(values.back(), 19);
    const auto first = coro::run(coro::when_any(std::move(any)), simulated);
    EXPECT_EQ(first.index(), 19u);
}

TEST_F(run_operation_test, a_deadline_strikes_and_an_exception_passes) {
    EXPECT_FALSE(coro::run(coro::move_on_after(1ms, sleep_task(1h)), simulated));
    try {
        coro::run(coro::with_timeout(1ms, sleep_task(1h)), simulated);
        FAIL() << "nothing was thrown";
    } catch (const coro::io_error& error) {
        EXPECT_TRUE(error == coro::errc::deadline_exceeded);
        EXPECT_NE(std::string(error.what()).find("run_operation_test.cpp"), std::string::npos);
    }
    EXPECT_THROW(coro::run(coro::shield(sleep_task(1h), 1ms), simulated), coro::io_error);
    EXPECT_THROW(coro::run(coro::with_timeout(1s, failure_after(1ms, "inside")), simulated),
                 std::runtime_error);
    EXPECT_THROW(
        coro::run(coro::when_all(sleep_task(1h), failure_after(1ms, "inside")), simulated),
        std::runtime_error);
    const auto late = coro::run(
        coro::as_result([]() -> coro::task<> {
            co_await coro::with_timeout(1ms, coro::sleep_for(1h));
        }()), simulated);
    EXPECT_FALSE(late.has_value());
}

TEST_F(run_operation_test, a_run_that_is_cancelled_ends_the_tasks_first) {
    coro::event never_set;
    std::vector<std::string> log;
    const auto forever = [](coro::event& e, std::vector<std::string>& to) -> coro::task<> {
        const end_note note(to, "ended");
        co_await e.wait();
    };
    EXPECT_THROW(
        coro::run(coro::when_all(forever(never_set, log), forever(never_set, log)), simulated),
        coro::simulation_stuck);
    EXPECT_EQ(log, (std::vector<std::string>{"ended", "ended"}));
}

TEST_F(run_operation_test, a_named_one_is_moved_and_cannot_be_used_again) {
    auto named = coro::with_timeout(1s, text_after(1ms, long_text));
    EXPECT_EQ(coro::run(std::move(named), simulated), long_text);
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(coro::run(std::move(named), simulated),  // NOLINT(bugprone-use-after-move)
                 "a task that was moved from was awaited");
}

TEST_F(run_operation_test, run_main_makes_an_exit_code_of_it) {
    EXPECT_EQ(coro::run_main(coro::with_timeout(1s, value_after(1ms, 3)), simulated), 3);
    EXPECT_EQ(coro::run_main(coro::shield(sleep_task(1ms)), simulated), 0);
    testing::internal::CaptureStderr();
    EXPECT_EQ(coro::run_main(coro::with_timeout(1ms, sleep_task(1h)), simulated), 1);
    EXPECT_NE(testing::internal::GetCapturedStderr().find("deadline exceeded"), std::string::npos);
}

coro::task<> spawn_all_kinds(coro::task_group& group, std::vector<std::string>& log) {
    group.spawn(coro::with_timeout(1h, noting(5ms, log, "with_timeout")));
    group.spawn({.name = "named"}, coro::with_deadline(coro::never, noting(10ms, log, "deadline")));
    group.spawn(coro::move_on_after(15ms, noting(1h, log, "move_on_after")));
    group.spawn(coro::shield(noting(20ms, log, "shield")));
    group.spawn(coro::when_all(noting(25ms, log, "all"), noting(26ms, log, "of them")));
    group.spawn(coro::when_any(noting(30ms, log, "any"), noting(1h, log, "loser")));
    co_await group.join();
}

TEST_F(spawn_operation_test, each_combinator_of_tasks_runs_as_a_child) {
    std::vector<std::string> log;
    const auto body = [&log](coro::task_group& group) { return spawn_all_kinds(group, log); };
    coro::run(coro::with_task_group(std::ref(body)), simulated);
    EXPECT_EQ(log, (std::vector<std::string>{
                       "with_timeout slept", "with_timeout", "deadline slept", "deadline",
                       "move_on_after", "shield slept", "shield", "all slept", "all",
                       "of them slept", "of them", "any slept", "any", "loser"}));
}

TEST_F(spawn_operation_test, its_error_is_the_groups_and_cancels_the_others) {
    std::vector<std::string> log;
    const auto body = [&log](coro::task_group& group) -> coro::task<> {
        group.spawn(coro::with_timeout(1h, noting(1h, log, "sibling")));
        group.spawn(coro::with_timeout(1ms, sleep_task(1h)));
        co_await group.join();
    };
    try {
        coro::run(coro::with_task_group(std::ref(body)), simulated);
        FAIL() << "nothing was thrown";
    } catch (const coro::io_error& error) {
        EXPECT_TRUE(error == coro::errc::deadline_exceeded);
    }
    EXPECT_EQ(log, std::vector<std::string>{"sibling"});
    const auto failing = [](coro::task_group& group) -> coro::task<> {
        group.spawn(coro::when_all(sleep_task(1h), noting_failure(1ms)));
        co_return;
    };
    EXPECT_THROW(coro::run(coro::with_task_group(failing), simulated), std::runtime_error);
}

TEST_F(spawn_operation_test, what_never_ran_in_a_cancelled_group_meets_cancelled) {
    std::vector<std::string> log;
    const auto body = [&log](coro::task_group& group) -> coro::task<> {
        group.cancel();
        group.spawn(coro::with_timeout(1h, noting(1ms, log, "child")));
        group.spawn(coro::when_any(noting(1ms, log, "one"), noting(1ms, log, "other")));
        co_return;
    };
    coro::run(coro::with_task_group(std::ref(body)), simulated);
    EXPECT_EQ(log, (std::vector<std::string>{"child", "one", "other"}));
}

TEST_F(spawn_operation_test, an_error_of_a_branch_that_nobody_reads_is_told) {
    const report_log told;
    const auto body = [](coro::task_group& group) -> coro::task<> {
        group.spawn(coro::when_any(noting_failure(1ms), sleep_task(1h)));
        co_return;
    };
    coro::run(coro::with_task_group(body), simulated);
    ASSERT_EQ(told.lines.size(), 1u);
    EXPECT_TRUE(told.lines.front().starts_with("when_any: a branch ended with this error"));
}

TEST_F(spawn_operation_test, a_dump_shows_the_tasks_of_the_program_alone) {
    std::string dump;
    const auto body = [&dump](coro::task_group& group) -> coro::task<> {
        group.spawn({.name = "bounded"}, coro::with_timeout(1h, sleep_task(1ms)));
        co_await coro::yield();
        co_await coro::yield();
        dump = coro::dump_tasks();
        co_await group.join();
    };
    coro::run(coro::with_task_group(std::ref(body)), simulated);
    EXPECT_NE(dump.find("bounded core_fixture.hpp:"), std::string::npos) << dump;
    EXPECT_EQ(dump.find("operation_coroutine"), std::string::npos) << dump;
}

void spawn_captures(int kind) {
    const auto body = [kind](coro::task_group& group) -> coro::task<> {
        const auto closure = [number = 1]() -> coro::task<> {
            (void)number;
            co_return;
        };
        if (kind == 0) group.spawn(coro::with_timeout(1s, closure()));
        if (kind == 1) group.spawn(coro::when_all(sleep_task(1ms), closure()));
        std::vector<coro::task<>> list;
        list.push_back(closure());
        if (kind == 2) group.spawn(coro::when_any(std::move(list)));
        co_return;
    };
    coro::run(coro::with_task_group(std::ref(body)), simulated);
}

TEST_F(spawn_operation_death_test, the_body_of_a_capturing_lambda_is_refused_in_each) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    for (const int kind : {0, 1, 2})
        EXPECT_DEATH(spawn_captures(kind),
                     "run_operation_test.cpp:.*spawn of the body of a lambda with captures");
}

}  // namespace
}  // namespace coro_test
