// Companions: what stands beside a child of a group, when it ends, and what it is told.
#include <coro/runtime/task_group.hpp>

#include <functional>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::task;
using coro::task_group;

class spawn_with_test : public core_test {};

class noting {
public:
    noting(std::vector<std::string>& to, std::string name) : to_(to), name_(std::move(name)) {
        to_.push_back(name_ + " begins");
    }
    noting(const noting&) = delete;
    noting& operator=(const noting&) = delete;
    ~noting() { to_.push_back(name_ + " ends"); }
    void failed(const std::exception_ptr& error) noexcept {
        try {
            std::rethrow_exception(error);
        } catch (const std::exception& thrown) {
            to_.push_back(name_ + " is told: " + thrown.what());
        }
    }

private:
    std::vector<std::string>& to_;
    std::string name_;
};

struct noted_end {
    explicit noted_end(std::vector<std::string>& of) noexcept : to(&of) {}
    noted_end(noted_end&& other) noexcept : to(std::exchange(other.to, nullptr)) {}
    noted_end& operator=(noted_end&&) = delete;
    ~noted_end() {
        if (to != nullptr) to->push_back("task ends");
    }
    std::vector<std::string>* to;
};

task<> child(noted_end, bool fails) {
    co_await coro::sleep_for(1ms);
    if (fails) throw std::runtime_error("no");
}

TEST_F(spawn_with_test, a_companion_lives_from_the_spawn_until_after_the_task) {
    std::vector<std::string> notes;
    const auto body = [&](task_group& group) -> task<> {
        group.spawn_with<noting>({}, child(noted_end(notes), false), notes, "it");
        co_return;
    };
    simulate(coro::with_task_group(body));
    EXPECT_EQ(notes, (std::vector<std::string>{"it begins", "task ends", "it ends"}));
}

TEST_F(spawn_with_test, it_is_told_of_the_error_in_place_of_the_group) {
    const report_log log;
    for (const auto policy : {coro::on_error::cancel_siblings, coro::on_error::report_and_go_on}) {
        std::vector<std::string> notes;
        bool cancelled = false;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn_with<noting>({}, child(noted_end(notes), true), notes, "it");
            co_await coro::sleep_for(5ms);
            cancelled = group.is_cancelled();
        };
        simulate(coro::with_task_group(body, {.policy = policy}));
        // The arguments of a task end with its exception, before anybody is told of that.
        EXPECT_EQ(notes, (std::vector<std::string>{"it begins", "it is told: no", "task ends",
                                                   "it ends"}));
        EXPECT_FALSE(cancelled);
    }
    EXPECT_TRUE(log.lines.empty());
}

TEST_F(spawn_with_test, it_is_not_told_of_a_cancellation) {
    std::vector<std::string> notes;
    const auto body = [&](task_group& group) -> task<> {
        group.spawn_with<noting>({}, sleep_task(1h), notes, "it");
        co_await coro::sleep_for(1ms);
        group.cancel();
    };
    simulate(coro::with_task_group(body));
    EXPECT_EQ(notes, (std::vector<std::string>{"it begins", "it ends"}));
}

class unwilling {
public:
    explicit unwilling(bool) { throw std::runtime_error("not today"); }
    void failed(const std::exception_ptr&) noexcept {}
};

TEST_F(spawn_with_test, without_a_companion_nothing_runs) {
    std::vector<std::string> notes;
    const auto body = [&](task_group& group) -> task<> {
        bool threw = false;
        try {
            group.spawn_with<unwilling>({}, child(noted_end(notes), false), true);
        } catch (const std::runtime_error&) {
            threw = true;
        }
        EXPECT_TRUE(threw);
        EXPECT_EQ(group.size(), 0u);
        co_return;
    };
    simulate(coro::with_task_group(body));
    EXPECT_EQ(notes, std::vector<std::string>{"task ends"});
}

static_assert(coro::child_companion<noting>);
static_assert(!coro::child_companion<noted_end>);

void spawn_elsewhere() {
    const auto body = [](task_group& group) -> task<> {
        group.spawn_with<unwilling>({.loop = 1}, sleep_task(1ms), true);
        co_return;
    };
    simulate(coro::with_task_group(body));
}

class ignoring {
public:
    void failed(const std::exception_ptr&) noexcept {}
};

/// The body of a lambda that outlives the group.
void spawn_a_body(bool kept, bool beside) {
    int calls = 0;
    const auto work = [&calls]() -> task<> {
        co_await coro::sleep_for(1ms);
        ++calls;
    };
    const auto body = [&](task_group& group) -> task<> {
        if (beside) group.spawn_with<ignoring>({.closure_is_kept = kept}, work());
        else group.spawn({.closure_is_kept = kept}, work());
        co_return;
    };
    simulate(coro::with_task_group(body));
    EXPECT_EQ(calls, 1);
}

TEST_F(spawn_with_test, a_lambda_that_the_spawner_keeps_may_capture) {
    spawn_a_body(true, true);
    spawn_a_body(true, false);
}

TEST_F(spawn_with_test, without_that_word_a_lambda_with_captures_is_refused) {
    EXPECT_DEATH(spawn_a_body(false, true), "the body of a lambda with captures");
    EXPECT_DEATH(spawn_a_body(false, false), "the body of a lambda with captures");
}

TEST_F(spawn_with_test, on_another_loop_it_aborts_with_a_sentence) {
    EXPECT_DEATH(spawn_elsewhere(), "a companion stays on the loop of its group");
}

}  // namespace
}  // namespace coro_test
