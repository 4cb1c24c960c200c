// task<T>: lazy, move-only, any T, exceptions, and a stack that stays bounded.
#include <coro/core/task.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include <coro/core/when_all.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class task_test : public core_test {};

coro::task<int> note(bool& started, int value) {
    started = true;
    co_return value;
}

static_assert(std::is_nothrow_move_constructible_v<coro::task<int>>);
static_assert(std::is_nothrow_move_assignable_v<coro::task<int>>);
static_assert(!std::is_copy_constructible_v<coro::task<int>>);
static_assert(!std::is_copy_assignable_v<coro::task<int>>);
static_assert(!std::is_default_constructible_v<coro::task<int>>);

TEST_F(task_test, starts_when_it_is_awaited_and_not_before) {
    simulate([]() -> coro::task<> {
        bool started = false;
        coro::task<int> work = note(started, 7);
        EXPECT_FALSE(started);
        EXPECT_TRUE(static_cast<bool>(work));
        co_await coro::yield();
        EXPECT_FALSE(started);
        EXPECT_EQ(co_await std::move(work), 7);
        EXPECT_TRUE(started);
    }());
}

TEST_F(task_test, a_task_that_moved_holds_nothing) {
    const dropped_tasks dropped;
    bool started = false;
    coro::task<int> first = note(started, 1);
    coro::task<int> second = std::move(first);
    EXPECT_FALSE(static_cast<bool>(first));
    EXPECT_TRUE(static_cast<bool>(second));
    first = std::move(second);
    EXPECT_TRUE(static_cast<bool>(first));
    first = note(started, 2);  // destroys what it held
    EXPECT_EQ(simulate(std::move(first)), 2);
}

TEST_F(task_test, destroying_an_unstarted_task_destroys_its_parameters_only) {
    const dropped_tasks dropped;
    auto counted = std::make_shared<int>(0);
    {
        auto work = [](std::shared_ptr<int> held) -> coro::task<> {
            ++*held;
            co_return;
        }(counted);
        EXPECT_EQ(counted.use_count(), 2);
    }
    EXPECT_EQ(counted.use_count(), 1);
    EXPECT_EQ(*counted, 0);
}

TEST_F(task_test, answers_void) {
    bool ran = false;
    simulate([](bool& done) -> coro::task<> {
        co_await [](bool& inner) -> coro::task<> {
            inner = true;
            co_return;
        }(done);
    }(ran));
    EXPECT_TRUE(ran);
}

coro::task<int&> refer(int& to) { co_return to; }
coro::task<const std::string&> refer_const(const std::string& to) { co_return to; }

TEST_F(task_test, answers_references_to_the_same_object) {
    int object = 1;
    int& same = simulate(refer(object));
    EXPECT_EQ(&same, &object);
    const std::string text = "text";
    simulate([](const std::string& expected) -> coro::task<> {
        const std::string& found = co_await refer_const(expected);
        EXPECT_EQ(&found, &expected);
    }(text));
}

coro::task<std::unique_ptr<int>> make_owner(int value) { co_return std::make_unique<int>(value); }

TEST_F(task_test, answers_what_can_only_be_moved) {
    EXPECT_EQ(*simulate(make_owner(5)), 5);
    simulate([]() -> coro::task<> {
        const std::unique_ptr<int> owner = co_await make_owner(6);
        EXPECT_EQ(*owner, 6);
    }());
}

TEST_F(task_test, answers_what_has_no_default_constructor) {
    struct exact {
        explicit exact(int v) : value(v) {}
        int value;
    };
    const exact found = simulate([]() -> coro::task<exact> { co_return exact(3); }());
    EXPECT_EQ(found.value, 3);
}

TEST_F(task_test, an_unread_value_is_destroyed) {
    auto counted = std::make_shared<int>(0);
    simulate([](std::shared_ptr<int> held) -> coro::task<> {
        (void)co_await [](std::shared_ptr<int> inner) -> coro::task<std::shared_ptr<int>> {
            co_return inner;
        }(held);
        EXPECT_EQ(held.use_count(), 2);
    }(counted));
    EXPECT_EQ(counted.use_count(), 1);
}

TEST_F(task_test, an_exception_comes_out_of_the_await) {
    simulate([]() -> coro::task<> {
        // Before the first suspension, and after one.
        EXPECT_TRUE(co_await throws<std::runtime_error>([]() -> coro::task<> {
            throw std::runtime_error("at once");
            co_return;
        }()));
        EXPECT_TRUE(co_await throws<std::runtime_error>(failure_after(1ms, "later")));
    }());
}

TEST_F(task_test, an_exception_passes_through_frames_and_destroys_their_locals) {
    auto counted = std::make_shared<int>(0);
    struct nest {
        static coro::task<> go(std::shared_ptr<int> held, int depth) {
            const std::shared_ptr<int> local = held;
            if (depth == 0) co_await failure_after(1ms, "deep");
            else co_await go(held, depth - 1);
        }
    };
    EXPECT_THROW(simulate(nest::go(counted, 20)), std::runtime_error);
    EXPECT_EQ(counted.use_count(), 1);
}

TEST_F(task_test, the_child_ends_before_its_awaiter_goes_on) {
    std::string order;
    simulate([](std::string& log) -> coro::task<> {
        struct mark {
            explicit mark(std::string& to) : out(to) {}
            ~mark() { out += "child gone, "; }
            std::string& out;
        };
        co_await [](std::string& inner) -> coro::task<> {
            const mark local(inner);
            co_await coro::sleep_for(1ms);
            inner += "child ends, ";
        }(log);
        log += "parent goes on";
    }(order));
    EXPECT_EQ(order, "child ends, child gone, parent goes on");
}

coro::task<int> descend(int depth, bool suspend_at_bottom) {
    if (depth == 0) {
        if (suspend_at_bottom) co_await coro::yield();
        co_return 0;
    }
    co_return 1 + co_await descend(depth - 1, suspend_at_bottom);
}

TEST_F(task_test, recursion_of_a_million_keeps_the_stack_bounded) {
    coro::detail::frame_tracking = false;  // a map of a million is another test
    const int depth = scaled(1'000'000, 4);
    EXPECT_EQ(simulate(descend(depth, false)), depth);
    EXPECT_EQ(simulate(descend(depth, true)), depth);
}

TEST_F(task_test, ten_million_ready_awaits_keep_the_stack_bounded) {
    coro::detail::frame_tracking = false;
    const int rounds = scaled(10'000'000, 20);
    const long sum = simulate([](int count) -> coro::task<long> {
        long total = 0;
        for (int i = 0; i < count; ++i)
            total += co_await [](int n) -> coro::task<int> { co_return n & 1; }(i);
        co_return total;
    }(rounds));
    EXPECT_EQ(sum, rounds / 2);
}

TEST_F(task_test, completions_of_suspended_children_never_nest) {
    const int rounds = scaled(300'000);
    simulate([](int count) -> coro::task<> {
        for (int i = 0; i < count; ++i)
            co_await [](int) -> coro::task<> { co_await coro::yield(); }(i);
    }(rounds));
}

using task_death_test = task_test;

TEST_F(task_death_test, awaiting_a_task_that_was_moved_from_aborts) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     bool started = false;
                     coro::task<int> work = note(started, 1);
                     const coro::task<int> other = std::move(work);
                     (void)co_await std::move(work);
                 }()),
                 "a task that was moved from was awaited");
}

TEST_F(task_death_test, awaiting_a_task_a_second_time_aborts) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     bool started = false;
                     coro::task<int> work = note(started, 1);
                     (void)co_await std::move(work);
                     (void)co_await std::move(work);
                 }()),
                 "a task was awaited that had been started before");
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     coro::task<> work = sleep_task(1ms);
                     co_await std::move(work);
                     co_await coro::when_all(std::move(work));
                 }()),
                 "a task was awaited that had been started before");
}

TEST_F(task_death_test, running_what_cannot_be_started_aborts) {
    EXPECT_DEATH(
        {
            coro::task<> work = sleep_task(1ms);
            const coro::task<> other = std::move(work);
            simulate(std::move(work));
        },
        "run of a task that was moved from");
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     coro::task<> work = sleep_task(1ms);
                     co_await std::move(work);
                     coro::detail::current = nullptr;
                     simulate(std::move(work));
                 }()),
                 "run of a task that had been started before");
}

TEST_F(task_death_test, destroying_a_task_that_runs_aborts) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     std::optional<coro::task<>> work;
                     const auto destroy = [](std::optional<coro::task<>>& from) -> coro::task<> {
                         co_await coro::yield();
                         from.reset();
                     };
                     work.emplace(destroy(work));
                     co_await std::move(*work);
                 }()),
                 "a task was destroyed while it runs");
}

}  // namespace
}  // namespace coro_test
