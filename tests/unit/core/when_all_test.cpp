// when_all: values in order, the first error, all awaited.
#include <coro/core/when_all.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <type_traits>
#include <variant>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class when_all_test : public core_test {};

coro::task<int&> refer(int& to) { co_return to; }

TEST_F(when_all_test, answers_all_values_in_the_order_of_the_arguments) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        int object = 0;
        auto [a, b, c, d] = co_await coro::when_all(
            value_after(3ms, 1), sleep_task(1ms),
            []() -> coro::task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); }(),
            refer(object));
        static_assert(std::is_same_v<decltype(b), std::monostate>);
        static_assert(std::is_same_v<decltype(d), int&>);
        EXPECT_EQ(a, 1);
        EXPECT_EQ(*c, 2);
        EXPECT_EQ(&d, &object);
        EXPECT_EQ(elapsed_ms(start), 3);  // side by side
    }());
}

TEST_F(when_all_test, awaits_operations_and_adaptors_as_well_as_tasks) {
    simulate([]() -> coro::task<> {
        mailbox box;
        box.put(8);
        const auto start = coro::now();
        auto [slept, taken, timed, result] = co_await coro::when_all(
            coro::sleep_for(2ms), box.take(), coro::with_timeout(1s, value_after(1ms, 3)),
            coro::as_result(value_after(1ms, 4)));
        EXPECT_EQ(taken, 8);
        EXPECT_EQ(timed, 3);
        EXPECT_EQ(result.value(), 4);
        EXPECT_EQ(elapsed_ms(start), 2);
    }());
}

TEST_F(when_all_test, of_nothing_returns_at_once) {
    simulate([]() -> coro::task<> {
        static_assert(std::is_same_v<decltype(coro::when_all().await_resume()), std::tuple<>>);
        co_await coro::when_all();
        EXPECT_TRUE((co_await coro::when_all(std::vector<coro::task<int>>())).empty());
        co_await coro::when_all(std::vector<coro::task<>>());
    }());
}

TEST_F(when_all_test, of_a_list_answers_a_vector) {
    simulate([]() -> coro::task<> {
        std::vector<coro::task<int>> tasks;
        for (int i = 0; i < 5; ++i) tasks.push_back(value_after(1ms * (5 - i), i));
        const std::vector<int> values = co_await coro::when_all(std::move(tasks));
        EXPECT_EQ(values, (std::vector{0, 1, 2, 3, 4}));

        std::vector<coro::task<>> sleeps;
        sleeps.push_back(sleep_task(1ms));
        sleeps.push_back(sleep_task(2ms));
        const auto start = coro::now();
        co_await coro::when_all(std::move(sleeps));
        EXPECT_EQ(elapsed_ms(start), 2);

        int object = 0;
        std::vector<coro::task<int&>> references;
        references.push_back(refer(object));
        EXPECT_EQ(&(co_await coro::when_all(std::move(references))).front().get(), &object);
    }());
}

TEST_F(when_all_test, starts_through_the_run_queue_in_order) {
    simulate([]() -> coro::task<> {
        std::string order;
        auto note = [](std::string& to, const char* text) -> coro::task<> {
            to += text;
            co_return;
        };
        co_await coro::when_all(note(order, "a"), note(order, "b"), note(order, "c"));
        EXPECT_EQ(order, "abc");
    }());
}

TEST_F(when_all_test, the_first_error_cancels_the_others_which_are_awaited) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        bool cleaned = false;
        auto slow = [](bool& done) -> coro::task<> {
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
                done = true;
                throw;
            }
        };
        try {
            co_await coro::when_all(slow(cleaned), failure_after(2ms, "second"),
                                    failure_after(1ms, "first"));
            ADD_FAILURE() << "must throw";
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "first");
        }
        EXPECT_TRUE(cleaned);
        EXPECT_EQ(elapsed_ms(start), 1);
    }());
}

TEST_F(when_all_test, an_error_after_the_first_is_counted_to_the_report_hook) {
    const report_log log;
    simulate([]() -> coro::task<> {
        auto fail_when_cancelled = []() -> coro::task<> {
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
                throw std::runtime_error("while unwinding");
            }
        };
        try {
            co_await coro::when_all(fail_when_cancelled(), failure_after(1ms, "first"));
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "first");
        }
    }());
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_EQ(log.lines[0], "when_all: 1 further errors of branches [main]");
}

TEST_F(when_all_test, throws_cancelled_when_an_enclosing_scope_was_cancelled) {
    simulate([]() -> coro::task<> {
        const auto moved_on = co_await coro::move_on_after(
            1ms, coro::when_all(value_after(1h, 1), value_after(0ms, 2)));
        EXPECT_FALSE(moved_on.has_value());
    }());
}

TEST_F(when_all_test, values_that_are_complete_are_answered_although_cancelled) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::cancel_scope& scope) -> coro::task<int> {
            scope.cancel();
            auto immediate = [](int value) -> coro::task<int> { co_return value; };
            auto [a, b] = co_await coro::when_all(immediate(1), immediate(2));
            co_return a + b;
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), 3);
    }());
}

TEST_F(when_all_test, a_branch_that_throws_cancelled_by_itself_cancels_the_others) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        auto gives_up = []() -> coro::task<int> {
            co_await coro::sleep_for(1ms);
            throw coro::cancelled();
        };
        const bool thrown = co_await throws<coro::cancelled>(
            [](coro::task<int> first) -> coro::task<> {
                co_await coro::when_all(std::move(first), value_after(1h, 1));
            }(gives_up()));
        EXPECT_TRUE(thrown);
        EXPECT_EQ(elapsed_ms(start), 1);
    }());
}

TEST_F(when_all_test, nests_and_never_grows_the_stack) {
    coro::detail::frame_tracking = false;
    struct tree {
        static coro::task<int> go(int depth) {
            if (depth == 0) co_return 1;
            auto [left, right] = co_await coro::when_all(go(depth - 1), go(depth - 1));
            co_return left + right;
        }
        static coro::task<int> chain(int depth) {
            if (depth == 0) co_return 0;
            auto [below] = co_await coro::when_all(chain(depth - 1));
            co_return below + 1;
        }
    };
    EXPECT_EQ(simulate(tree::go(10)), 1024);
    EXPECT_EQ(simulate(tree::chain(scaled(100'000))), scaled(100'000));
}

TEST_F(when_all_test, destroying_it_unawaited_destroys_its_tasks) {
    const dropped_tasks dropped;
    std::vector<coro::task<int>> tasks;
    tasks.push_back(value_after(1ms, 1));
    { [[maybe_unused]] const auto unstarted = coro::when_all(std::move(tasks)); }
}

}  // namespace
}  // namespace coro_test
