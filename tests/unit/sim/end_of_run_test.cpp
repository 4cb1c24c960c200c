// How a simulated run ends while threads outside of it wait for tasks of it: the clock moves on.
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include <gtest/gtest.h>

#include <coro/coro.hpp>

namespace coro::sim_tests {
namespace {

using namespace std::chrono_literals;

struct seen_by_thread {
    std::atomic<bool> begun{false};
    bool closed = false;
    duration cleaned_for{};
    unsigned loop = 99;
};

/// Works until it is cancelled, and then takes its time.
task<> work_and_clean(seen_by_thread& seen, duration span) {
    seen.begun = true;
    const auto work = []() -> task<> { co_await sleep_for(24h); };
    const auto clean = [&seen, span]() -> task<> {
        const time_point begin = now();
        seen.loop = loop_index();
        co_await sleep_for(span);
        seen.cleaned_for = now() - begin;
    };
    co_await with_cleanup(work, clean, 2h);
}

task<loop_handle> handle_here() { co_return loop_handle::of_this_loop(); }

/// A thread waits for a task on the last of so many loops when the run ends.
seen_by_thread& end_while_a_thread_waits(unsigned loops, seen_by_thread& seen, duration span) {
    std::optional<std::thread> waits;
    const auto wait = [&seen, span](loop_handle where) {
        try {
            sync_wait(where, work_and_clean(seen, span));
        } catch (const io_error& error) {
            seen.closed = error.code() == errc::closed;
        }
    };
    const auto body = [&]() -> task<> {
        std::optional<loop_handle> last;
        const auto ask = [&]() -> task<> { last = co_await handle_here(); };
        const auto group_body = [&](task_group& group) -> task<> {
            group.spawn({.loop = loops - 1}, std::ref(ask));
            co_return;
        };
        co_await with_task_group(group_body);
        waits.emplace(wait, *last);
        while (!seen.begun.load()) co_await yield();
    };
    run(body(), {.poller = poller_choice::simulation, .loops = loops});
    waits->join();
    return seen;
}

TEST(end_of_run_test, what_a_thread_waits_for_cleans_up_in_virtual_time) {
    for (const unsigned loops : {1u, 2u, 3u}) {
        seen_by_thread seen;
        end_while_a_thread_waits(loops, seen, 1h);
        EXPECT_TRUE(seen.closed) << loops;
        EXPECT_EQ(seen.cleaned_for, duration(1h)) << loops;
        EXPECT_EQ(seen.loop, loops - 1);
    }
}

TEST(end_of_run_test, a_clean_up_that_does_not_end_is_cut_off_at_its_limit) {
    for (const unsigned loops : {1u, 2u}) {
        seen_by_thread seen;
        end_while_a_thread_waits(loops, seen, 24h);
        EXPECT_EQ(seen.cleaned_for, duration::zero()) << "it was cancelled";
        EXPECT_EQ(seen.loop, loops - 1);
    }
}

}  // namespace
}  // namespace coro::sim_tests
