// A task that holds its loop is named, in a world whose clock stands still but when a task holds
// it; and how often the clock is read for that.
#include "runtime/hold_watch.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/base/report.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>

#include "runtime/make_poller.hpp"
#include "runtime/scheduler.hpp"
#include "support/forwarding_poller.hpp"

// Not in the library's namespace: its own frames are not named.
namespace coro_test {
namespace {

using namespace coro;
using namespace coro::detail;
using namespace std::chrono_literals;

/// The clock of the simulation, plus what tasks have held it for.
class held_world final : public forwarding_poller {
public:
    explicit held_world(std::unique_ptr<poller> world) : forwarding_poller(std::move(world)) {}

    [[nodiscard]] time_point now() noexcept override {
        ++reads;
        return forwarding_poller::now() + held;
    }
    void wait(time_point deadline, operation_list& completed) noexcept override {
        const bool moves = deadline != time_point::min() && deadline != never;
        forwarding_poller::wait(moves ? deadline - held : deadline, completed);
    }

    duration held = duration::zero();
    std::uint64_t reads = 0;
};

held_world* present = nullptr;

/// What a computation, a lock or a sleep of the thread does.
void hold(duration span) { present->held += span; }

class hold_watch_test : public testing::Test {
protected:
    hold_watch_test() {
        wrap_poller = [](std::unique_ptr<poller> world) -> std::unique_ptr<poller> {
            auto made = std::make_unique<held_world>(std::move(world));
            present = made.get();
            return made;
        };
        set_report_hook(
            [](const report_event& event, void* told) noexcept {
                static_cast<std::vector<std::string>*>(told)->emplace_back(event.text);
            },
            &told_);
    }
    ~hold_watch_test() override {
        set_report_hook(nullptr, nullptr);
        wrap_poller = nullptr;
    }

    static run_options watched() {
        return {.poller = poller_choice::simulation, .hold_limit = 100ms};
    }
    static std::string told(const std::string& what) {
        return "the loop stood " + what +
               ": what blocks or computes for long belongs in coro::blocking";
    }
    static std::string at(int line) { return "hold_watch_test.cpp:" + std::to_string(line); }

    using texts = std::vector<std::string>;
    texts told_;
};

int first_line = 0;
int second_line = 0;

/// Holds the loop between two of its lines.
task<> health(duration span) {
    first_line = __LINE__ + 1;
    co_await sleep_for(10ms);
    hold(span);
    second_line = __LINE__ + 1;
    co_await sleep_for(10ms);
}

TEST_F(hold_watch_test, the_only_task_of_a_long_turn_is_named_with_its_line) {
    const auto main = [](task_group& group) -> task<> {
        group.spawn({.name = "health"}, health, 1s);
        co_return;
    };
    run(with_task_group(main), watched());
    EXPECT_EQ(told_, texts{told("1.0 s in health, before " + at(second_line))});
}

TEST_F(hold_watch_test, below_the_limit_nothing_is_told) {
    run(health(99ms), watched());
    EXPECT_EQ(told_, texts{});
}

TEST_F(hold_watch_test, without_a_limit_nothing_is_told) {
    run(health(1h), {.poller = poller_choice::simulation});
    EXPECT_EQ(told_, texts{});
}

TEST_F(hold_watch_test, of_several_tasks_the_next_hold_is_named_with_both_lines) {
    const auto main = [](task_group& group) -> task<> {
        group.spawn({.name = "other"}, health, 0ms);
        group.spawn({.name = "health"}, health, 200ms);
        co_await sleep_for(1s);
        group.spawn({.name = "other"}, health, 0ms);
        group.spawn({.name = "health"}, health, 1500ms);
    };
    run(with_task_group(main), watched());
    EXPECT_EQ(told_,
              (texts{told("200 ms in one of 2 tasks that it resumed; for a minute each is "
                          "measured, and the next one is named"),
                     told("1.5 s in health, between " + at(first_line) + " and " +
                          at(second_line))}));
}

int last_line = 0;

task<> hold_and_end() {
    last_line = __LINE__ + 1;
    co_await sleep_for(10ms);
    hold(300ms);
}

TEST_F(hold_watch_test, one_that_ends_is_named_while_it_is_measured) {
    const auto main = [](task_group& group) -> task<> {
        group.spawn({.name = "first"}, health, 200ms);
        group.spawn({.name = "second"}, health, 0ms);
        co_await sleep_for(1s);
        group.spawn({.name = "last"}, hold_and_end);
    };
    run(with_task_group(main), watched());
    ASSERT_EQ(told_.size(), 2u);
    EXPECT_EQ(told_[1], told("300 ms in last, between " + at(last_line) + " and its end"));
}

TEST_F(hold_watch_test, a_posted_call_is_told) {
    const auto main = []() -> task<> {
        loop_handle::of_this_loop().post([] { hold(2s); });
        co_await sleep_for(10ms);
    };
    run(main(), watched());
    EXPECT_EQ(told_, texts{told("2.0 s in a call that was posted to it (loop_handle::post)")});
}

/// As the message of dump_all_loops() does it.
TEST_F(hold_watch_test, the_time_of_a_dump_is_blamed_on_no_task) {
    const auto main = []() -> task<> {
        posted dump;
        dump.run = [](posted&) noexcept {
            scheduler_of(*current).forget_a_post();
            hold(300ms);
        };
        current->post(dump);
        co_await sleep_for(10ms);
    };
    run(main(), watched());
    EXPECT_EQ(told_, texts{"the loop stood 300 ms in its part of a dump (dump_all_loops): a line "
                           "for each task takes time, so ask for it rarely"});
}

// --- looks at the clock

task<> yield_often(int count) {
    for (int i = 0; i < count; ++i) co_await yield();
}

/// Turns, resumptions and looks at the clock while ten tasks yield a hundred times each.
struct cost {
    std::uint64_t turns = 0;
    std::uint64_t resumed = 0;
    std::uint64_t reads = 0;
};
task<cost> cost_of_yields() {
    const loop_stats before = current_loop_stats();
    const std::uint64_t reads = present->reads;
    const auto in_group = [](task_group& group) -> task<> {
        for (int i = 0; i < 10; ++i) group.spawn(yield_often, 100);
        co_return;
    };
    co_await with_task_group(in_group);
    const loop_stats after = current_loop_stats();
    co_return cost{after.turns - before.turns, after.resumed - before.resumed,
                   present->reads - reads};
}

TEST_F(hold_watch_test, costs_one_look_at_the_clock_a_turn_and_none_a_resumption) {
    const cost without = run(cost_of_yields(), {.poller = poller_choice::simulation});
    EXPECT_GT(without.resumed, 1000u);
    EXPECT_EQ(without.reads, without.turns);
    const cost with = run(cost_of_yields(), watched());
    EXPECT_EQ(with.turns, without.turns);
    EXPECT_EQ(with.reads, 2 * with.turns);
}

TEST_F(hold_watch_test, measures_for_a_minute_and_no_longer) {
    cost at_first;
    cost later;
    const auto main = [&](task_group& group) -> task<> {
        group.spawn({.name = "first"}, health, 200ms);
        group.spawn({.name = "second"}, health, 0ms);
        co_await sleep_for(1s);
        at_first = co_await cost_of_yields();
        co_await sleep_for(1min);
        later = co_await cost_of_yields();
    };
    run(with_task_group(main), watched());
    EXPECT_GT(at_first.reads, 2 * at_first.resumed);
    EXPECT_EQ(later.reads, 2 * later.turns);
}

class counting_observer : public task_observer {
public:
    void spawned(const task_view&) noexcept override { ++counts[0]; }
    void resumed(const task_view&) noexcept override { ++counts[1]; }
    void suspended(const task_view&) noexcept override { ++counts[2]; }
    void ended(const task_view&) noexcept override { ++counts[3]; }

    std::array<int, 4> counts{};
};

TEST_F(hold_watch_test, the_observer_of_the_program_goes_on_seeing_everything) {
    const auto count_of = [](duration held) {
        counting_observer observer;
        const auto main = [held](task_group& group) -> task<> {
            group.spawn({.name = "first"}, health, held);
            group.spawn({.name = "second"}, health, 0ms);
            co_await sleep_for(1s);
            group.spawn({.name = "third"}, health, 0ms);
        };
        run_options how = watched();
        how.observer = &observer;
        run(with_task_group(main), how);
        return observer.counts;
    };
    EXPECT_EQ(count_of(200ms), count_of(0ms));
}

}  // namespace
}  // namespace coro_test
