// A simulation in which nothing can happen any more: run() throws, tells who waits for what, and
// leaves nothing behind.
#include <chrono>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include <coro/coro.hpp>

// Not in coro: the dump names the program's own frames.
namespace stuck_tests {
namespace {

using namespace std::chrono_literals;
using coro::task;

template <typename T>
T simulate(task<T> main) {
    return coro::run(std::move(main), {.poller = coro::poller_choice::simulation});
}

/// What run() throws; empty if it does not throw simulation_stuck.
std::string stuck_in(task<> main) {
    try {
        simulate(std::move(main));
    } catch (const coro::simulation_stuck& stuck) {
        return stuck.what();
    }
    return {};
}
bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

/// Says in `ended` that it was unwound.
struct mark_of_end {
    explicit mark_of_end(int& count) noexcept : ended(count) {}
    mark_of_end(const mark_of_end&) = delete;
    mark_of_end& operator=(const mark_of_end&) = delete;
    ~mark_of_end() { ++ended; }
    int& ended;
};

task<> wait_for(coro::event& gate, int& ended) {
    const mark_of_end mark(ended);
    co_await gate.wait();
}

task<> two_named_tasks(int& ended) {
    coro::event first;
    coro::event second;
    const auto children = [&](coro::task_group& group) -> task<> {
        group.spawn({.name = "left"}, wait_for, std::ref(first), std::ref(ended));
        group.spawn({.name = "right"}, wait_for, std::ref(second), std::ref(ended));
        co_return;
    };
    co_await coro::with_task_group(children);
}

TEST(stuck_simulation_test, run_throws_the_dump_of_named_tasks_and_unwinds_them) {
    int ended = 0;
    const std::string text = stuck_in(two_named_tasks(ended));
    EXPECT_TRUE(text.starts_with("simulation: nothing can ever happen again: every task waits and "
                                 "no timer is set:\n#"))
        << text;
    EXPECT_TRUE(contains(text, "left stuck_simulation_test.cpp:")) << text;
    EXPECT_TRUE(contains(text, "right stuck_simulation_test.cpp:")) << text;
    EXPECT_TRUE(contains(text, "wait for event")) << text;
    EXPECT_TRUE(contains(text, "main ")) << text;
    EXPECT_FALSE(text.ends_with('\n')) << text;
    EXPECT_EQ(ended, 2);
}

task<> wait_on_each_loop(int& ended) {
    coro::event never_set;
    const auto children = [&](coro::task_group& group) -> task<> {
        for (unsigned loop = 0; loop < coro::loop_count(); ++loop)
            group.spawn({.name = loop == 0 ? "at home" : "elsewhere", .loop = loop}, wait_for,
                        std::ref(never_set), std::ref(ended));
        co_return;
    };
    co_await coro::with_task_group(children);
}

TEST(stuck_simulation_test, the_tasks_of_all_loops_are_told_and_unwound) {
    int ended = 0;
    try {
        coro::run(wait_on_each_loop(ended),
                  {.poller = coro::poller_choice::simulation, .loops = 3});
        FAIL() << "nothing was thrown";
    } catch (const coro::simulation_stuck& stuck) {
        const std::string text = stuck.what();
        EXPECT_TRUE(contains(text, "at home stuck_simulation_test.cpp:")) << text;
        EXPECT_TRUE(contains(text, "loop 1:\n")) << text;
        EXPECT_TRUE(contains(text, "loop 2:\n")) << text;
        EXPECT_TRUE(contains(text, "elsewhere stuck_simulation_test.cpp:")) << text;
    }
    EXPECT_EQ(ended, 3);
}

task<int> sleep_an_hour() {
    co_await coro::sleep_for(1h);
    co_return 7;
}

TEST(stuck_simulation_test, a_later_run_of_the_process_works) {
    int ended = 0;
    EXPECT_NE(stuck_in(two_named_tasks(ended)), "");
    EXPECT_EQ(simulate(sleep_an_hour()), 7);
    EXPECT_NE(stuck_in(two_named_tasks(ended)), "");
    EXPECT_EQ(ended, 4);
}

TEST(stuck_simulation_test, a_fiber_that_waits_is_named_and_unwound) {
    int ended = 0;
    const auto main = [](int& count) -> task<> {
        coro::event gate;
        const auto children = [&](coro::task_group& group) -> task<> {
            const auto body = [](coro::event& of, int& unwound) {
                const mark_of_end mark(unwound);
                coro::await(of.wait());
            };
            group.spawn_fiber({.name = "on its own stack"}, body, std::ref(gate),
                              std::ref(count));
            co_return;
        };
        co_await coro::with_task_group(children);
    };
    const std::string text = stuck_in(main(ended));
    EXPECT_TRUE(contains(text, "on its own stack stuck_simulation_test.cpp:")) << text;
    EXPECT_EQ(ended, 1);
}

task<> lock_both(coro::mutex& mine, coro::mutex& yours) {
    const auto first = co_await mine.lock();
    co_await coro::yield();
    const auto second = co_await yours.lock();
}

task<> embrace() {
    coro::mutex one;
    coro::mutex other;
    const auto children = [&](coro::task_group& group) -> task<> {
        group.spawn({.name = "one"}, lock_both, std::ref(one), std::ref(other));
        group.spawn({.name = "other"}, lock_both, std::ref(other), std::ref(one));
        co_return;
    };
    co_await coro::with_task_group(children);
}

TEST(stuck_simulation_test, tasks_that_hold_locks_release_them) {
    const std::string text = stuck_in(embrace());  // a mutex that ends locked aborts
    EXPECT_TRUE(contains(text, "lock mutex")) << text;
}

task<> accept_nobody() {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    const coro::net::tcp_stream stream = co_await listener.accept();
}

TEST(stuck_simulation_test, operations_of_the_network_are_withdrawn) {
    EXPECT_TRUE(contains(stuck_in(accept_nobody()), "accept"));
}

task<> swallow_the_end(coro::event& gate) {
    try {
        co_await gate.wait();
    } catch (const coro::cancelled&) {
    }
}

TEST(stuck_simulation_test, a_main_that_swallows_the_cancellation_does_not_hide_it) {
    coro::event gate;
    EXPECT_NE(stuck_in(swallow_the_end(gate)), "");
}

task<> fail_at_the_end(coro::event& gate, bool standard) {
    try {
        co_await gate.wait();
    } catch (const coro::cancelled&) {
        if (standard) throw std::runtime_error("the clean-up failed");
        throw 42;
    }
}

TEST(stuck_simulation_test, what_main_throws_after_the_cancellation_is_kept) {
    coro::event gate;
    try {
        simulate(fail_at_the_end(gate, true));
        FAIL() << "nothing was thrown";
    } catch (const coro::simulation_stuck& stuck) {
        EXPECT_TRUE(contains(stuck.what(), "wait for event")) << stuck.what();
        EXPECT_TRUE(std::string(stuck.what()).ends_with(
            "\nmain then ended with an exception: the clean-up failed"))
            << stuck.what();
        EXPECT_THROW(std::rethrow_if_nested(stuck), std::runtime_error);
    }
    coro::event second_gate;  // an event belongs to one run
    const std::string other = stuck_in(fail_at_the_end(second_gate, false));
    EXPECT_TRUE(other.ends_with("main then ended with an exception that is no std::exception"))
        << other;
    coro::event third_gate;
    EXPECT_FALSE(contains(stuck_in(swallow_the_end(third_gate)), "main then"));
    coro::event fourth_gate;
    int ended = 0;
    EXPECT_FALSE(contains(stuck_in(wait_for(fourth_gate, ended)), "main then")) << "cancelled";
}

TEST(stuck_simulation_test, a_clean_up_may_wait_for_a_timer) {
    const auto main = []() -> task<> {
        coro::event gate;
        const auto wait = [&]() -> task<> { co_await gate.wait(); };
        const auto clean_up = []() -> task<> { co_await coro::sleep_for(1s); };
        co_await coro::with_cleanup(wait, clean_up);
    };
    EXPECT_NE(stuck_in(main()), "");
}

TEST(stuck_simulation_test, run_main_prints_the_dump_and_answers_1) {
    int ended = 0;
    testing::internal::CaptureStderr();
    const int code = coro::run_main(two_named_tasks(ended),
                                    {.poller = coro::poller_choice::simulation});
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_EQ(code, 1);
    EXPECT_TRUE(said.starts_with("coro: main ended: simulation: nothing can ever happen again"))
        << said;
    EXPECT_TRUE(contains(said, "left stuck_simulation_test.cpp:")) << said;
}

// --- what cannot be cancelled

task<> wait_shielded(coro::event& gate) {
    const auto wait = [&]() -> task<> { co_await gate.wait(); };
    co_await coro::shield(wait(), coro::duration::max());
}

TEST(stuck_simulation_death_test, tasks_that_do_not_end_abort_with_the_sentence) {
    coro::event gate;
    EXPECT_DEATH(simulate(wait_shielded(gate)),
                 "#1 main stuck_simulation_test.cpp:.*\n.*nothing can ever happen again, and these "
                 "tasks did not end when they were cancelled");
}

}  // namespace
}  // namespace stuck_tests
