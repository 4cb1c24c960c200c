// when_any: the first to end, every value obtained, losers withdrawn and awaited.
#include <coro/core/when_any.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <coro/core/when_all.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class when_any_test : public core_test {};

TEST_F(when_any_test, answers_the_first_to_end_with_its_value) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        auto race = co_await coro::when_any(value_after(3ms, 1), value_after(1ms, 2),
                                            coro::sleep_for(2ms));
        EXPECT_EQ(race.index(), 1u);
        EXPECT_TRUE(race.has_value<1>());
        EXPECT_EQ(race.get<1>(), 2);
        EXPECT_FALSE(race.has_value<0>());
        EXPECT_FALSE(race.has_value<2>());
        EXPECT_THROW(race.get<0>(), coro::cancelled);
        EXPECT_THROW(race.get<2>(), coro::cancelled);
        EXPECT_EQ(elapsed_ms(start), 1);
    }());
}

TEST_F(when_any_test, an_exception_is_an_end_as_well) {
    simulate([]() -> coro::task<> {
        auto race = co_await coro::when_any(value_after(3ms, 1), failure_after(1ms, "lost"));
        EXPECT_EQ(race.index(), 1u);
        EXPECT_FALSE(race.has_value<1>());
        EXPECT_THROW(race.get<1>(), std::runtime_error);
        EXPECT_FALSE(race.has_value<0>());
    }());
}

TEST_F(when_any_test, every_value_obtained_meanwhile_is_answered) {
    simulate([]() -> coro::task<> {
        auto immediate = [](int value) -> coro::task<int> { co_return value; };
        auto late = []() -> coro::task<int> {
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
            }
            co_return 3;  // a loser that still has something to say
        };
        auto race = co_await coro::when_any(late(), immediate(1), immediate(2));
        EXPECT_EQ(race.index(), 1u);
        EXPECT_EQ(race.get<0>(), 3);
        EXPECT_EQ(race.get<1>(), 1);
        EXPECT_EQ(race.get<2>(), 2);
    }());
}

TEST_F(when_any_test, returns_only_after_the_losers_have_ended) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        bool unwound = false;
        auto slow_to_end = [](bool& done) -> coro::task<> {
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
            }
            co_await coro::shield(coro::sleep_for(5ms));
            done = true;
        };
        auto race = co_await coro::when_any(slow_to_end(unwound), value_after(1ms, 1));
        EXPECT_EQ(race.index(), 1u);
        EXPECT_TRUE(unwound);
        EXPECT_EQ(elapsed_ms(start), 6);
    }());
}

TEST_F(when_any_test, values_may_be_void_references_and_move_only) {
    simulate([]() -> coro::task<> {
        int object = 0;
        auto refer = [](int& to) -> coro::task<int&> { co_return to; };
        auto own = []() -> coro::task<std::unique_ptr<int>> { co_return std::make_unique<int>(1); };
        auto nothing = []() -> coro::task<> { co_return; };
        auto race = co_await coro::when_any(refer(object), own(), nothing());
        EXPECT_EQ(&race.get<0>(), &object);
        race.get<2>();
        const std::unique_ptr<int> mine = std::move(race).get<1>();
        EXPECT_EQ(*mine, 1);
    }());
}

TEST_F(when_any_test, of_a_list) {
    simulate([]() -> coro::task<> {
        std::vector<coro::task<int>> tasks;
        for (int i = 0; i < 4; ++i) tasks.push_back(value_after(1ms * (4 - i), i));
        auto race = co_await coro::when_any(std::move(tasks));
        EXPECT_EQ(race.size(), 4u);
        EXPECT_EQ(race.index(), 3u);
        EXPECT_EQ(race.get(3), 3);
        EXPECT_FALSE(race.has_value(0));
        EXPECT_THROW(race.get(0), coro::cancelled);
    }());
}

TEST_F(when_any_test,
       a_branch_that_starts_after_the_end_of_another_meets_cancelled_and_takes_nothing) {
    simulate([]() -> coro::task<> {
        mailbox box;
        box.put(1);
        box.put(2);
        auto race = co_await coro::when_any(box.take(), box.take());
        EXPECT_EQ(race.index(), 0u);
        EXPECT_EQ(race.get<0>(), 1);
        EXPECT_FALSE(race.has_value<1>());
        EXPECT_EQ(box.size(), 1u);
    }());
}

// --- at most one takes

coro::task<> put_all(mailbox& first, mailbox& second) {
    co_await coro::sleep_for(1ms);
    // Both in one resumption: nobody else runs in between.
    first.put(1);
    second.put(2);
}

TEST_F(when_any_test, of_waits_that_are_granted_in_one_turn_one_takes) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            mailbox first;
            mailbox second;
            group.spawn(put_all, std::ref(first), std::ref(second));
            auto race = co_await coro::when_any(second.take(), first.take());
            EXPECT_EQ(race.index(), 1u);
            EXPECT_EQ(race.get<1>(), 1);
            EXPECT_FALSE(race.has_value<0>());
            EXPECT_EQ(second.size(), 1u);
        };
        co_await coro::with_task_group(body);
    }());
}

TEST_F(when_any_test, adaptors_without_a_frame_keep_that) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            mailbox first;
            mailbox second;
            group.spawn(put_all, std::ref(first), std::ref(second));
            auto race = co_await coro::when_any(
                coro::with_timeout(1s, first.take()),
                coro::when_any(second.take(), coro::sleep_for(1s)));
            EXPECT_EQ(race.get<0>(), 1);
            EXPECT_FALSE(race.has_value<1>());
            EXPECT_EQ(second.size(), 1u);
        };
        co_await coro::with_task_group(body);
    }());
}

TEST_F(when_any_test, a_when_all_that_is_complete_withdraws_the_siblings_of_the_whole) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            mailbox first;
            mailbox second;
            mailbox third;
            group.spawn([](mailbox& a, mailbox& b, mailbox& c) -> coro::task<> {
                co_await coro::sleep_for(1ms);
                a.put(1);
                b.put(2);
                c.put(3);
            }, std::ref(first), std::ref(second), std::ref(third));
            auto race = co_await coro::when_any(third.take(),
                                                coro::when_all(first.take(), second.take()));
            EXPECT_EQ(race.index(), 1u);
            EXPECT_EQ(race.get<1>(), (std::tuple{1, 2}));
            EXPECT_EQ(third.size(), 1u);
        };
        co_await coro::with_task_group(body);
    }());
}

TEST_F(when_any_test, two_tasks_that_both_took_both_have_their_value) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            mailbox first;
            mailbox second;
            group.spawn(put_all, std::ref(first), std::ref(second));
            auto race = co_await coro::when_any(take_task(first), take_task(second));
            EXPECT_EQ(race.get<0>(), 1);
            EXPECT_EQ(race.get<1>(), 2);  // taken before it could be withdrawn: not lost
        };
        co_await coro::with_task_group(body);
    }());
}

// --- cancellation from outside

TEST_F(when_any_test, throws_cancelled_if_an_enclosing_scope_is_cancelled_and_there_is_no_value) {
    simulate([]() -> coro::task<> {
        const auto moved_on = co_await coro::move_on_after(
            1ms, coro::when_any(value_after(1h, 1), coro::sleep_for(1h)));
        EXPECT_FALSE(moved_on.has_value());
    }());
}

TEST_F(when_any_test, a_value_is_answered_although_an_enclosing_scope_is_cancelled) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::cancel_scope& scope) -> coro::task<int> {
            scope.cancel();
            auto immediate = []() -> coro::task<int> { co_return 1; };
            auto race = co_await coro::when_any(immediate(), value_after(1h, 2));
            co_return race.get<0>();
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), 1);
    }());
}

TEST_F(when_any_test, a_deadline_inside_a_branch_is_that_branchs_own) {
    simulate([]() -> coro::task<> {
        auto race = co_await coro::when_any(coro::with_timeout(1ms, value_after(1h, 1)),
                                            value_after(2ms, 2));
        EXPECT_EQ(race.index(), 0u);
        EXPECT_THROW(race.get<0>(), coro::io_error);
        EXPECT_FALSE(race.has_value<1>());
    }());
}

// --- errors that nobody reads

TEST_F(when_any_test, an_error_of_a_branch_that_nobody_reads_is_told_to_the_report_hook) {
    const report_log log;
    simulate([](const report_log& told) -> coro::task<> {
        auto race = co_await coro::when_any(failure_after(1ms, "unread"), value_after(1h, 1));
        const auto moved = std::move(race);
        EXPECT_EQ(moved.index(), 0u);
        EXPECT_TRUE(told.lines.empty());
    }(log));
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_EQ(log.lines[0],
              "when_any: a branch ended with this error, and nobody asked for its result: unread "
              "[main]");
}

TEST_F(when_any_test, an_error_that_was_read_is_not_told) {
    const report_log log;
    simulate([]() -> coro::task<> {
        auto race = co_await coro::when_any(failure_after(1ms, "read"), value_after(1h, 1));
        EXPECT_THROW(race.get<0>(), std::runtime_error);
        std::vector<coro::task<int>> tasks;
        tasks.push_back(failure_after(1ms, "read"));
        tasks.push_back(value_after(1h, 1));
        auto list = co_await coro::when_any(std::move(tasks));
        EXPECT_THROW((void)std::move(list).get(0), std::runtime_error);
    }());
    EXPECT_TRUE(log.lines.empty()) << log.lines[0];
}

TEST_F(when_any_test, errors_are_told_when_it_throws_cancelled_instead) {
    const report_log log;
    simulate([]() -> coro::task<> {
        const auto fail_on_cancel = []() -> coro::task<> {
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
                throw std::runtime_error("hidden");
            }
        };
        const auto moved_on = co_await coro::move_on_after(
            1ms, coro::when_any(fail_on_cancel(), coro::sleep_for(1h)));
        EXPECT_FALSE(moved_on.has_value());
    }());
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_EQ(log.lines[0],
              "when_any: a branch ended with this error, and nobody asked for its result: hidden "
              "[main]");
}

using when_any_death_test = when_any_test;

TEST_F(when_any_death_test, of_an_empty_list_aborts) {
    EXPECT_DEATH((void)coro::when_any(std::vector<coro::task<int>>()), "would never end");
}

}  // namespace
}  // namespace coro_test
