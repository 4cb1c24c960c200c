// How tasks end that never ran, and those that own each other: what is told, and the stack.
#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/fiber.hpp>
#include <coro/core/task.hpp>
#include <coro/core/when_all.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "support/leftovers.hpp"
#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

// --- a task that never ran

class unstarted_task_test : public core_test {
protected:
    /// What was told of tasks since the last call.
    std::vector<std::string> told() { return std::exchange(log_.lines, {}); }

private:
    unstarted_tasks_expected expected_;
    report_log log_;
};

coro::task<int> child() { co_return 1; }
coro::task<> holder(coro::task<int>) { co_return; }
coro::task<int> waits_for(coro::task<int> work) {
    co_await coro::sleep_for(1h);
    co_return co_await std::move(work);
}
coro::task<> fails(coro::task<int>) {
    co_await coro::yield();
    throw std::runtime_error("failed");
}

TEST_F(unstarted_task_test, is_told_with_the_place_where_it_was_made) {
    { const auto forgotten = child(); }
    const std::vector<std::string> lines = told();
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find("task: it was destroyed before it had started"), std::string::npos);
    EXPECT_NE(lines[0].find("co_await it"), std::string::npos);
    EXPECT_NE(lines[0].find("task_end_test.cpp:"), std::string::npos);
    EXPECT_NE(lines[0].find("child()"), std::string::npos);
}

/// The line of the coroutine is the library's; the program's own is that of its latest await.
TEST_F(unstarted_task_test, is_told_with_the_task_that_dropped_it) {
    unsigned line = 0;
    const auto body = [](unsigned& latest) -> coro::task<> {
        co_await coro::yield(); latest = __LINE__;
        const auto group = coro::with_task_group(
            [](coro::task_group&) -> coro::task<> { co_return; });
        const auto fiber = coro::fiber([] {});
    };
    simulate(body(line));
    const std::string place = "destroyed at task_end_test.cpp:" + std::to_string(line) +
                              " or later (task \"main\", #1, in ";
    const std::vector<std::string> lines = told();
    ASSERT_EQ(lines.size(), 2u);
    for (const std::string& each : lines) EXPECT_NE(each.find(place), std::string::npos) << each;
    EXPECT_NE(lines[0].find("fiber"), std::string::npos) << lines[0];
    EXPECT_NE(lines[1].find("group_coroutine"), std::string::npos) << lines[1];
    simulate(coro::fiber([] {
        coro::await(coro::yield());
        const auto in_a_fiber = child();
    }));
    const std::vector<std::string> in_a_fiber = told();
    ASSERT_EQ(in_a_fiber.size(), 1u);
    EXPECT_NE(in_a_fiber[0].find("destroyed at task_end_test.cpp:"), std::string::npos);
    { const auto outside_of_a_run = child(); }
    const std::vector<std::string> outside = told();
    ASSERT_EQ(outside.size(), 1u);
    EXPECT_EQ(outside[0].find("destroyed at"), std::string::npos) << outside[0];
}

TEST_F(unstarted_task_test, is_told_whoever_held_it) {
    simulate([]() -> coro::task<> {
        const auto inside_of_a_run = child();
        co_return;
    }());
    EXPECT_EQ(told().size(), 1u);
    simulate(coro::fiber([] { const auto in_a_fiber = child(); }));
    EXPECT_EQ(told().size(), 1u);
    { const auto moved = std::make_unique<coro::task<int>>(child()); }
    EXPECT_EQ(told().size(), 1u);
    { const auto captured = [kept = child()] { return static_cast<bool>(kept); }; }
    EXPECT_EQ(told().size(), 1u);
    { const auto combined = coro::as_result(child()); }
    EXPECT_EQ(told().size(), 1u);
    { const auto limited = coro::with_timeout(1s, child()); }
    EXPECT_EQ(told().size(), 1u);
    {
        std::vector<coro::task<int>> several;
        several.push_back(child());
        several.push_back(child());
        std::optional<coro::task<int>> other = child();
        other = child();
        other.reset();
    }
    EXPECT_EQ(told().size(), 4u);
    simulate(holder(child()));  // ended well, and did not await its parameter
    EXPECT_EQ(told().size(), 1u);
}

TEST_F(unstarted_task_test, is_told_once_where_it_owns_others) {
    { const auto outer = waits_for(waits_for(child())); }
    const std::vector<std::string> lines = told();
    ASSERT_EQ(lines.size(), 1u);
    EXPECT_NE(lines[0].find("waits_for"), std::string::npos);
}

TEST_F(unstarted_task_test, is_no_news_where_it_ran_or_moved_away) {
    simulate([]() -> coro::task<> {
        auto named = child();
        auto other = std::move(named);
        EXPECT_EQ(co_await std::move(other), 1);
        co_await coro::with_task_group([](coro::task_group& group) -> coro::task<> {
            auto spawned = sleep_task(1ms);
            group.spawn(std::move(spawned));
            group.cancel();
            group.spawn(sleep_task(1ms));  // it starts, and is cancelled
            co_return;
        });
    }());
    EXPECT_EQ(told(), std::vector<std::string>());
}

TEST_F(unstarted_task_test, is_no_news_while_an_exception_passes) {
    const auto body = []() -> coro::task<> {
        const auto local = child();
        co_await coro::yield();
        throw std::runtime_error("failed");
    };
    EXPECT_THROW(simulate(body()), std::runtime_error);
    EXPECT_THROW(simulate(fails(child())), std::runtime_error);
    EXPECT_THROW(simulate(coro::fiber([] {
                     const auto local = child();
                     throw std::runtime_error("failed");
                 })),
                 std::runtime_error);
    coro::run_options no_loops{.poller = coro::poller_choice::simulation};
    no_loops.loops = 0;
    EXPECT_THROW(coro::run(child(), no_loops), coro::io_error);
    EXPECT_EQ(told(), std::vector<std::string>());
}

TEST_F(unstarted_task_test, is_no_news_where_its_owner_was_cancelled_or_failed) {
    simulate([]() -> coro::task<> {
        EXPECT_FALSE((co_await coro::move_on_after(1ms, waits_for(child()))).has_value());
        EXPECT_TRUE(co_await throws<std::runtime_error>(fails(child())));
        co_await coro::with_task_group([](coro::task_group& group) -> coro::task<> {
            group.spawn([](coro::task<int> work) -> coro::task<> {
                co_await waits_for(std::move(work));
            }, child());
            co_await coro::yield();
            group.cancel();
        });
        const auto in_a_cancelled_scope = [](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            co_await coro::when_all(waits_for(child()), holder(waits_for(waits_for(child()))));
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(in_a_cancelled_scope));
    }());
    // holder() ended well, but what it still owned goes while `cancelled` passes.
    EXPECT_EQ(told(), std::vector<std::string>());
}

TEST_F(unstarted_task_test, is_not_told_when_that_is_switched_off) {
    coro::report_unstarted_tasks(false);
    { const auto forgotten = child(); }
    coro::report_unstarted_tasks(true);
    EXPECT_EQ(told(), std::vector<std::string>());
}

// --- chains of tasks that own each other

class task_chain_test : public core_test {
protected:
    ~task_chain_test() override { coro::report_unstarted_tasks(true); }
    task_chain_test() {
        coro::report_unstarted_tasks(false);
        watch_memory(false);  // a million frames
    }

    static constexpr int links = scaled(1'000'000);
};

/// Counts those that live; no aggregate.
class counted {
public:
    explicit counted(int& alive) noexcept : alive_(&alive) { ++*alive_; }
    counted(counted&& other) noexcept : alive_(std::exchange(other.alive_, nullptr)) {}
    counted& operator=(counted&&) = delete;
    ~counted() {
        if (alive_ != nullptr) --*alive_;
    }

private:
    int* alive_;
};

coro::task<int> owner(coro::task<int> next, counted) { co_return 1 + co_await std::move(next); }
coro::task<int> boxed(std::vector<coro::task<int>> next, counted) {
    co_return 1 + co_await std::move(next.front());
}
coro::task<int> last_after(coro::duration span) {
    if (span != coro::duration::zero()) co_await coro::sleep_for(span);
    co_return 0;
}
coro::task<int> last_failure() {
    co_await coro::yield();
    throw std::runtime_error("the last one");
}
/// Another task owns the rest when the first one waits.
coro::task<int> late(coro::task<int> next, counted) {
    co_await coro::sleep_for(1h);
    co_return co_await std::move(next);
}

coro::task<int> chain_to(coro::task<int> end, int count, int& alive) {
    for (int i = 0; i < count; ++i) {
        if (i % 3 != 0) {
            end = owner(std::move(end), counted(alive));
        } else {
            std::vector<coro::task<int>> box;
            box.push_back(std::move(end));
            end = boxed(std::move(box), counted(alive));
        }
    }
    return end;
}

void destroy_unawaited(int count) {
    int alive = 0;
    {
        const auto unawaited = chain_to(last_after({}), count, alive);
        EXPECT_EQ(alive, count);
    }
    EXPECT_EQ(alive, 0);
}

coro::task<> await_chains(int count) {
    int alive = 0;
    EXPECT_EQ(co_await chain_to(last_after({}), count, alive), count);
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(co_await chain_to(last_after(1ms), count, alive), count);
    EXPECT_EQ(alive, 0);
}

coro::task<> drop_chains(int count) {
    int alive = 0;
    auto waiting = chain_to(last_after(1h), count, alive);
    EXPECT_FALSE((co_await coro::move_on_after(1ms, std::move(waiting))).has_value());
    EXPECT_EQ(alive, 0);
    // Half of them have started.
    auto half = late(chain_to(last_after({}), count / 2, alive), counted(alive));
    half = chain_to(std::move(half), count / 2, alive);
    EXPECT_FALSE((co_await coro::move_on_after(1ms, std::move(half))).has_value());
    EXPECT_EQ(alive, 0);
    EXPECT_TRUE(co_await throws<std::runtime_error>(chain_to(last_failure(), count, alive)));
    EXPECT_EQ(alive, 0);
}

void drop_in_a_fiber(int count) {
    int alive = 0;
    auto waiting = chain_to(last_after(1h), count, alive);
    EXPECT_FALSE(coro::await(coro::move_on_after(1ms, std::move(waiting))).has_value());
    EXPECT_EQ(alive, 0);
    auto half = late(chain_to(last_after({}), count / 2, alive), counted(alive));
    half = chain_to(std::move(half), count / 2, alive);
    EXPECT_FALSE(coro::await(coro::move_on_after(1ms, std::move(half))).has_value());
    EXPECT_EQ(alive, 0);
}

TEST_F(task_chain_test, of_a_million_is_destroyed_unawaited) {
    destroy_unawaited(links);
    simulate([]() -> coro::task<> {
        destroy_unawaited(links);
        co_return;
    }());
}

/// Ends its task, and notes whether the frame of that had gone when the task's destructor returned.
class watching_owner {
public:
    watching_owner(coro::task<int> owned, int& alive, std::vector<bool>& gone) noexcept
        : task_(std::move(owned)), alive_(&alive), gone_(&gone) {}
    watching_owner(watching_owner&& other) noexcept
        : task_(std::move(other.task_)), alive_(std::exchange(other.alive_, nullptr)),
          gone_(other.gone_) {}
    watching_owner& operator=(watching_owner&&) = delete;
    ~watching_owner() {
        if (alive_ == nullptr) return;
        const int before = *alive_;
        task_.reset();
        gone_->push_back(*alive_ < before);
    }

private:
    std::optional<coro::task<int>> task_;
    int* alive_;
    std::vector<bool>* gone_;
};
coro::task<int> watched(watching_owner, counted) { co_return 0; }
coro::task<int> innermost(counted) { co_return 0; }

/// What task's comment says: to 12 levels a frame has gone when the destructor of its task returns.
TEST_F(task_chain_test, beyond_twelve_levels_a_frame_ends_after_the_destructor_of_its_task) {
    int alive = 0;
    std::vector<bool> gone;
    {
        auto outermost = innermost(counted(alive));
        for (int i = 0; i < 15; ++i)
            outermost = watched(watching_owner(std::move(outermost), alive, gone), counted(alive));
        EXPECT_EQ(alive, 16);
    }
    EXPECT_EQ(alive, 0);
    // From the inside out: frames 2 to 12 end in place, and the 13th waits for the outermost. It
    // and the three inside of it end from there, one inside of the other again.
    std::vector<bool> expected{false};
    expected.insert(expected.end(), 11, true);
    expected.insert(expected.end(), 3, true);
    EXPECT_EQ(gone, expected);
}

TEST_F(task_chain_test, of_a_million_is_awaited_to_its_end) { simulate(await_chains(links)); }

TEST_F(task_chain_test, of_a_million_is_dropped_half_way) { simulate(drop_chains(links)); }

TEST_F(task_chain_test, of_a_million_ends_on_the_stack_of_a_fiber) {
    simulate(coro::fiber([] {
        destroy_unawaited(links);
        int alive = 0;
        EXPECT_EQ(coro::await(chain_to(last_after({}), links, alive)), links);
        EXPECT_EQ(alive, 0);
        drop_in_a_fiber(links);
    }));
}

/// Awaits in its destructor, as only a fiber can.
class slow_end {
public:
    explicit slow_end(int& ended) noexcept : ended_(&ended) {}
    slow_end(slow_end&& other) noexcept : ended_(std::exchange(other.ended_, nullptr)) {}
    slow_end& operator=(slow_end&&) = delete;
    ~slow_end() {
        if (ended_ == nullptr) return;
        coro::await(coro::sleep_for(1ms));
        ++*ended_;
    }

private:
    int* ended_;
};
coro::task<int> slow_owner(coro::task<int> next, slow_end) { co_return co_await std::move(next); }

TEST_F(task_chain_test, may_be_destroyed_by_several_fibers_by_turns) {
    static constexpr int slow_links = 100;
    const auto destroy_slowly = [] {
        int ended = 0;
        {
            auto chain = last_after({});
            for (int i = 0; i < slow_links; ++i)
                chain = slow_owner(std::move(chain), slow_end(ended));
        }
        EXPECT_EQ(ended, slow_links);
    };
    simulate([](auto slowly) -> coro::task<> {
        co_await coro::with_task_group([slowly](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber(slowly);
            group.spawn_fiber(slowly);
            for (int i = 0; i < 20; ++i) {
                destroy_unawaited(1000);  // at once, whoever else is in the midst of it
                co_await coro::sleep_for(1ms);
            }
        });
    }(destroy_slowly));
}

}  // namespace
}  // namespace coro_test
