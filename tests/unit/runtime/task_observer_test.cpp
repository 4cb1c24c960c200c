// task_observer: spawn, resume, suspend, end, in order, for every kind of strand; what it sees.
#include <coro/runtime/task_observer.hpp>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <coro/core/when_any.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class task_observer_test : public core_test {};

class recorder : public coro::task_observer {
public:
    void spawned(const coro::task_view& task) noexcept override { add('+', task); }
    void resumed(const coro::task_view& task) noexcept override { add('>', task); }
    void suspended(const coro::task_view& task) noexcept override { add('<', task); }
    void ended(const coro::task_view& task) noexcept override { add('-', task); }

    std::string log;

private:
    void add(char what, const coro::task_view& task) noexcept {
        log += what + std::to_string(task.number()) + " ";
    }
};

void run_observed(coro::task<> main, coro::task_observer& observer) {
    coro::run(std::move(main),
              {.poller = coro::poller_choice::simulation, .observer = &observer});
}

std::string trace(coro::task<> main) {
    recorder seen;
    run_observed(std::move(main), seen);
    return seen.log;
}

TEST_F(task_observer_test, the_root_task_begins_waits_goes_on_and_ends) {
    EXPECT_EQ(trace([]() -> coro::task<> { co_return; }()), "+1 >1 -1 ");
    EXPECT_EQ(trace(sleep_task(1ms)), "+1 >1 <1 >1 -1 ");
}

TEST_F(task_observer_test, children_of_a_group) {
    EXPECT_EQ(trace([]() -> coro::task<> {
                  co_await coro::with_task_group([](coro::task_group& group) -> coro::task<> {
                      group.spawn(sleep_task, 2ms);
                      group.spawn([]() -> coro::task<> { co_return; });
                      co_return;
                  });
              }()),
              "+1 >1 +2 +3 <1 >2 <2 >3 -3 >2 -2 >1 -1 ");
}

TEST_F(task_observer_test, branches_are_strands_as_well) {
    EXPECT_EQ(trace([]() -> coro::task<> {
                  (void)co_await coro::when_any(sleep_task(1ms), coro::sleep_for(2ms));
              }()),
              "+1 >1 +2 +3 <1 >2 <2 >3 <3 >2 -2 >3 -3 >1 -1 ");
}

TEST_F(task_observer_test, one_that_overwrites_nothing_sees_nothing_and_changes_nothing) {
    class none : public coro::task_observer {
    } quiet;
    run_observed(sleep_task(1ms), quiet);
    class only_ends : public coro::task_observer {
    public:
        void ended(const coro::task_view& task) noexcept override {
            log += "-" + std::to_string(task.number()) + " ";
        }
        std::string log;
    } ends;
    run_observed(sleep_task(1ms), ends);
    EXPECT_EQ(ends.log, "-1 ");
}

// What task_view says of a named child, at each of its four moments.
class viewer : public coro::task_observer {
public:
    void spawned(const coro::task_view& task) noexcept override { add("spawned", task); }
    void resumed(const coro::task_view& task) noexcept override { add("resumed", task); }
    void suspended(const coro::task_view& task) noexcept override { add("suspended", task); }
    void ended(const coro::task_view& task) noexcept override { add("ended", task); }

    std::vector<std::string> of_child;
    std::vector<unsigned> lines;

private:
    void add(std::string_view moment, const coro::task_view& task) {
        if (task.name() != "child") return;
        EXPECT_EQ(task.loop(), 0u);
        EXPECT_EQ(task.number(), 2u);
        of_child.push_back(std::string(moment) + (task.is_cancelled() ? ", cancelled" : ""));
        if (moment == "suspended") {
            lines.push_back(task.where().line());
            EXPECT_NE(std::string_view(task.where().file_name()).find("task_observer_test"),
                      std::string_view::npos);
        }
    }
};

TEST_F(task_observer_test, a_view_has_name_number_loop_place_and_whether_it_is_cancelled) {
    unsigned line_of_await = 0;
    const auto child = [](unsigned& line) -> coro::task<> {
        line = __LINE__ + 1;
        co_await coro::sleep_for(1h);
    };
    viewer seen;
    const auto body = [&](coro::task_group& group) -> coro::task<> {
        group.spawn({.name = "child"}, child, std::ref(line_of_await));
        co_await coro::yield();
        group.cancel();
    };
    run_observed(coro::with_task_group(body), seen);
    EXPECT_EQ(seen.of_child, (std::vector<std::string>{"spawned", "resumed", "suspended",
                                                       "resumed, cancelled", "ended, cancelled"}));
    EXPECT_EQ(seen.lines, std::vector<unsigned>{line_of_await});
}

}  // namespace
}  // namespace coro_test
