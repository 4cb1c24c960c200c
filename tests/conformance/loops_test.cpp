// Several loops: tasks on other loops, posts, foreign threads.
#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include <coro/core/when_all.hpp>
#include <coro/core/when_any.hpp>
#include <coro/runtime/blocking.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/timeout.hpp>

#include "net_test_support.hpp"
#include "runtime/loop_team.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class loops_test : public world_test {};
/// With threads that are no loop of the run; a simulation has none.
class foreign_threads_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, foreign_threads_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);
INSTANTIATE_TEST_SUITE_P(all_worlds, loops_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

struct seen_loops {
    std::mutex guard;
    std::set<unsigned> indices;
    std::set<std::thread::id> threads;

    void note() {
        const std::lock_guard lock(guard);
        indices.insert(loop_index());
        threads.insert(std::this_thread::get_id());
    }
};

task<> note_where(seen_loops& seen) {
    seen.note();
    co_await sleep_for(1ms);
    seen.note();
}

TEST_P(loops_test, each_loop_has_a_thread_and_a_task_stays_on_its_loop) {
    seen_loops seen;
    const auto body = [&]() -> task<> {
        EXPECT_EQ(loop_count(), 4u);
        EXPECT_EQ(loop_index(), 0u);
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned loop = 0; loop < loop_count(); ++loop)
                group.spawn({.name = "noting", .loop = loop}, note_where, std::ref(seen));
            co_return;
        };
        co_await with_task_group(in_group);
    };
    in_loops(4, body());
    EXPECT_EQ(seen.indices, (std::set<unsigned>{0, 1, 2, 3}));
    EXPECT_EQ(seen.threads.size(), simulated() ? 1u : 4u);
}

task<> count_up(std::atomic<int>& count) {
    co_await yield();
    count.fetch_add(1, std::memory_order_relaxed);
}

TEST_P(loops_test, a_group_ends_after_its_children_everywhere) {
    std::atomic<int> count{0};
    const auto body = [&]() -> task<> {
        for (int round = 1; round <= 20; ++round) {
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned i = 0; i < 30; ++i)
                    group.spawn({.loop = i % 3}, count_up, std::ref(count));
                EXPECT_EQ(group.size(), 30u);
                co_return;
            };
            co_await with_task_group(in_group);
            EXPECT_EQ(count.load(), 30 * round);
        }
    };
    in_loops(3, body());
}

constexpr std::string_view long_text = "text that is too long for a small string";

task<> read_late(std::string_view view, const std::string& reference, std::span<const int> numbers,
                 std::atomic<int>& right) {
    co_await sleep_for(1ms);
    if (view == long_text && reference == long_text && numbers.size() == 3 && numbers[2] == 3)
        right.fetch_add(1, std::memory_order_relaxed);
}

TEST_P(loops_test, arguments_live_until_a_child_on_another_loop_has_ended) {
    std::atomic<int> right{0};
    const auto body = [&]() -> task<> {
        const auto in_group = [&](task_group& group) -> task<> {
            for (const unsigned loop : {0u, 1u})
                group.spawn({.loop = loop}, read_late, std::string(long_text), long_text.data(),
                            std::vector<int>{1, 2, 3}, std::ref(right));
            co_return;
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
    EXPECT_EQ(right.load(), 2);
}

/// Says what it was called with; called late, when whoever posted it has gone on.
void tell(std::string_view text, std::atomic<int>& right) {
    if (text == long_text) right.fetch_add(1, std::memory_order_relaxed);
}
struct telling {
    void operator()() const { tell(text, *right); }
    void operator()(int) const {}
    std::string text;
    std::atomic<int>* right;
};

TEST_P(loops_test, a_post_keeps_what_it_calls) {
    std::atomic<int> right{0};
    const auto body = [&]() -> task<> {
        const loop_handle here = loop_handle::of_this_loop();
        here.post(std::bind_front(tell, std::string(long_text), std::ref(right)));
        here.post([text = std::string(long_text), &right]() mutable { tell(text, right); });
        here.post([text = std::make_unique<std::string>(long_text), &right] {
            tell(*text, right);
        });
        here.post(telling{std::string(long_text), &right});
        co_await sleep_for(1ms);  // a turn takes what was posted before it resumes a task
        EXPECT_EQ(right.load(), 4);
    };
    in_loops(2, body());
}

task<> throw_later(duration after) {
    co_await sleep_for(after);
    throw std::runtime_error("from afar");
}
task<> wait_for_ever(std::atomic<int>& cancelled_ones) {
    try {
        co_await sleep_for(1h);
    } catch (const cancelled&) {
        cancelled_ones.fetch_add(1);
        throw;
    }
}

TEST_P(loops_test, an_error_on_another_loop_cancels_the_siblings_and_comes_home) {
    std::atomic<int> cancelled_ones{0};
    const auto body = [&]() -> task<> {
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, wait_for_ever, std::ref(cancelled_ones));
            group.spawn({.loop = 0}, wait_for_ever, std::ref(cancelled_ones));
            group.spawn({.loop = 2}, throw_later, 2ms);
            co_return;
        };
        co_await with_task_group(in_group);
    };
    try {
        in_loops(3, body());
        FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "from afar");
    }
    EXPECT_EQ(cancelled_ones.load(), 2);
}

TEST_P(loops_test, cancel_and_deadline_reach_children_on_other_loops) {
    std::atomic<int> cancelled_ones{0};
    const auto body = [&]() -> task<> {
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned loop = 0; loop < 3; ++loop)
                group.spawn({.loop = loop}, wait_for_ever, std::ref(cancelled_ones));
            co_await sleep_for(1h);
        };
        EXPECT_FALSE(co_await move_on_after(5ms, with_task_group(in_group)));
        EXPECT_EQ(cancelled_ones.load(), 3);
        const auto cancelled_at_once = [&](task_group& group) -> task<> {
            group.cancel();
            group.spawn({.loop = 1}, wait_for_ever, std::ref(cancelled_ones));
            co_return;
        };
        co_await with_task_group(cancelled_at_once);
        EXPECT_EQ(cancelled_ones.load(), 4) << "it starts, and meets cancelled at its first await";
    };
    in_loops(3, body());
}

task<> note_deadline(time_point& seen) {
    seen = current_deadline();
    co_return;
}

TEST_P(loops_test, children_on_other_loops_see_the_deadline_of_their_group) {
    const auto body = [&]() -> task<> {
        time_point here{}, there{};
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 0}, note_deadline, std::ref(here));
            group.spawn({.loop = 1}, note_deadline, std::ref(there));
            co_return;
        };
        const auto nested = [&]() -> task<> { co_await with_task_group(in_group); };
        const time_point begun = now();
        co_await with_timeout(1h, nested());
        EXPECT_GE(here, begun + 1h);
        EXPECT_NE(here, never);
        EXPECT_EQ(there, here);
        co_await nested();
        EXPECT_EQ(there, never) << "without a deadline there is none";
    };
    in_loops(2, body());
}

task<> until_stop(std::atomic<int>& stopped) {
    while (!stop_requested()) co_await sleep_for(1ms);
    stopped.fetch_add(1);
}

TEST_P(loops_test, a_stop_request_reaches_them_too) {
    std::atomic<int> stopped{0};
    const auto body = [&]() -> task<> {
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned loop = 0; loop < 3; ++loop)
                group.spawn({.loop = loop}, until_stop, std::ref(stopped));
            co_await sleep_for(3ms);
            group.request_stop();
        };
        co_await with_task_group(in_group);
    };
    in_loops(3, body());
    EXPECT_EQ(stopped.load(), 3);
}

task<> nest(unsigned depth, std::atomic<int>& count) {
    count.fetch_add(1, std::memory_order_relaxed);
    if (depth == 0) co_return;
    const auto in_group = [&](task_group& group) -> task<> {
        for (unsigned i = 0; i < 2; ++i)
            group.spawn({.loop = (loop_index() + i + 1) % loop_count()}, nest, depth - 1,
                        std::ref(count));
        co_return;
    };
    co_await with_task_group(in_group);
}

TEST_P(loops_test, groups_nest_across_loops) {
    std::atomic<int> count{0};
    in_loops(3, nest(7, count));
    EXPECT_EQ(count.load(), 255);
}

TEST_P(loops_test, children_that_are_cancelled_while_they_end_leave_nothing) {
    const auto body = [&]() -> task<> {
        std::atomic<int> count{0};
        for (int round = 0; round < 300; ++round) {
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned i = 0; i < 6; ++i)
                    group.spawn({.loop = i % 3}, count_up, std::ref(count));
                if (round % 3 == 0) co_await yield();
                group.cancel();
            };
            co_await with_task_group(in_group);
        }
    };
    in_loops(3, body());
}

int add(int one, int two) { return one + two; }

task<> call_and_post(loop_handle home, std::atomic<int>& right) {
    const unsigned here = loop_index();
    const int sum = co_await blocking(add, 20, 22);
    if (sum == 42 && loop_index() == here) right.fetch_add(1);
    home.post([&right] {
        if (loop_index() == 0) right.fetch_add(1);
    });
}

TEST_P(loops_test, blocking_calls_end_on_their_loop_and_posts_reach_another_one) {
    std::atomic<int> right{0};
    const auto body = [&]() -> task<> {
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned loop = 0; loop < loop_count(); ++loop)
                group.spawn({.loop = loop}, call_and_post, loop_handle::of_this_loop(),
                            std::ref(right));
            co_return;
        };
        co_await with_task_group(in_group);
        while (right.load() != 6) co_await sleep_for(1ms);
    };
    in_loops(3, body());
    EXPECT_EQ(right.load(), 6);
}

// --- posts and foreign threads

TEST_P(foreign_threads_test, posts_arrive_in_order_on_the_thread_of_the_loop) {
    std::vector<int> arrived;
    const auto body = [&]() -> task<> {
        event all;
        const loop_handle here = loop_handle::of_this_loop();
        const auto here_id = std::this_thread::get_id();
        std::thread other([&] {
            for (int i = 0; i < 1000; ++i) {
                here.post([&, i] {
                    EXPECT_EQ(std::this_thread::get_id(), here_id);
                    arrived.push_back(i);
                    if (i == 999) all.set();
                });
            }
        });
        co_await all.wait();
        other.join();
    };
    in_loops(1, body());
    ASSERT_EQ(arrived.size(), 1000u);
    EXPECT_TRUE(std::is_sorted(arrived.begin(), arrived.end()));
}

TEST_P(loops_test, a_post_to_a_loop_that_has_ended_says_so) {
    std::optional<loop_handle> kept;
    const auto body = [&]() -> task<> {
        kept = loop_handle::of_this_loop();
        EXPECT_FALSE(kept->has_ended());
        co_return;
    };
    in_loops(1, body());
    EXPECT_TRUE(kept->has_ended());
    bool called = false;
    try {
        kept->post([&called] { called = true; });
        FAIL() << "nothing was thrown";
    } catch (const io_error& error) {
        EXPECT_EQ(error.code(), errc::closed);
    }
    EXPECT_FALSE(called);
}

task<int> double_later(int value) {
    co_await sleep_for(1ms);
    co_return 2 * value;
}
task<> sleep_for_an_hour() { co_await sleep_for(1h); }
task<int> throwing(int) {
    co_await yield();
    throw std::runtime_error("inside");
}

TEST_P(foreign_threads_test, a_foreign_thread_waits_for_a_task) {
    const auto body = [&]() -> task<> {
        const loop_handle here = loop_handle::of_this_loop();
        std::atomic<bool> over{false};
        std::thread other([&] {
            EXPECT_EQ(sync_wait(here, double_later(21)), 42);
            EXPECT_THROW(sync_wait(here, throwing(1)), std::runtime_error);
            over.store(true);
        });
        while (!over.load()) co_await sleep_for(1ms);
        other.join();
    };
    in_loops(2, body());
}

/// Its frame ends on the thread that waits, maybe after the loop: nothing in it may look at that.
TEST_P(foreign_threads_test, a_foreign_thread_waits_for_combinators_of_tasks) {
    std::thread other;
    const auto body = [&]() -> task<> {
        const loop_handle here = loop_handle::of_this_loop();
        std::atomic<bool> over{false};
        other = std::thread([&over, here] {
            EXPECT_EQ(sync_wait(here, with_timeout(1h, double_later(21))), 42);
            EXPECT_FALSE(sync_wait(here, move_on_after(1ms, sleep_for_an_hour())));
            EXPECT_THROW(sync_wait(here, shield(throwing(1))), std::runtime_error);
            EXPECT_EQ(sync_wait(here, when_all(double_later(1), double_later(2))),
                      std::tuple(2, 4));
            over.store(true);
            while (!here.has_ended())
                try {
                    (void)sync_wait(here, when_any(sleep_for_an_hour(), sleep_for_an_hour()));
                } catch (const io_error& error) {
                    EXPECT_TRUE(error == errc::closed);
                }
        });
        while (!over.load()) co_await sleep_for(1ms);
    };
    in_loops(2, body());
    other.join();
}

TEST_P(foreign_threads_test, the_end_of_the_run_cancels_what_foreign_threads_wait_for) {
    std::thread other;
    std::optional<errc> first, second;
    std::atomic<bool> waiting{false};
    const auto long_wait = [](std::atomic<bool>& begun) -> task<> {
        begun.store(true);
        co_await sleep_for(1h);
    };
    const auto body = [&]() -> task<> {
        const loop_handle here = loop_handle::of_this_loop();
        other = std::thread([&, here] {
            try {
                sync_wait(here, long_wait(waiting));
            } catch (const io_error& error) {
                if (error.code() == errc::closed) first = errc::closed;
            }
            while (!here.has_ended()) std::this_thread::yield();
            try {
                sync_wait(here, long_wait(waiting));
            } catch (const io_error& error) {
                if (error.code() == errc::closed) second = errc::closed;
            }
        });
        while (!waiting.load()) co_await sleep_for(1ms);
    };
    in_loops(2, body());
    other.join();
    EXPECT_EQ(first, errc::closed);
    EXPECT_EQ(second, errc::closed);
}

TEST_P(foreign_threads_test, many_short_runs_with_foreign_posts_at_their_end) {
    for (int round = 0; round < 50; ++round) {
        std::thread other;
        const auto body = [&]() -> task<> {
            const loop_handle here = loop_handle::of_this_loop();
            other = std::thread([here] {
                try {
                    for (;;) here.post([] {});
                } catch (const io_error&) {
                }
            });
            co_await sleep_for(100us);
        };
        in_loops(3, body());
        other.join();
    }
}

/// Resumes its awaiter on a thread that goes on for a while afterwards.
struct resumed_elsewhere {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
        thread = std::thread([waiter] { waiter.resume(); });
    }
    void await_resume() const noexcept {}
    std::thread& thread;
};

task<> await_elsewhere(std::thread& thread) {
    resumed_elsewhere awaited{thread};
    co_await awaited;
}

TEST_P(foreign_threads_test, a_loop_may_end_before_the_thread_that_resumed_its_last_task) {
    for (int round = 0; round < 200; ++round) {
        std::thread thread;
        in_loops(1, await_elsewhere(thread));
        thread.join();
    }
}

task<> note_thread(std::vector<std::thread::id>& seen, std::vector<unsigned>& order) {
    for (int i = 0; i < 3; ++i) {
        seen.push_back(std::this_thread::get_id());  // no lock: all loops turn on one thread
        order.push_back(loop_index());
        co_await yield();
    }
}
task<> on_both_loops(std::vector<std::thread::id>& seen, std::vector<unsigned>& order) {
    const auto body = [&](task_group& group) -> task<> {
        for (unsigned loop = 0; loop < 2; ++loop)
            group.spawn({.loop = loop}, note_thread, std::ref(seen), std::ref(order));
        co_return;
    };
    co_await with_task_group(body);
}

TEST_P(foreign_threads_test, two_loops_are_stepped_from_one_thread) {
    run_options options = with_loops(2);
    loop_team team(options);
    team.start_stepped();
    std::vector<std::thread::id> seen;
    std::vector<unsigned> order;
    std::optional<loop_handle> first;
    {
        const loop_entry as_first(&team.at(0));
        first = loop_handle::of_this_loop();
    }
    std::atomic<bool> over{false};
    std::thread foreign([&] {
        sync_wait(*first, on_both_loops(seen, order));
        over.store(true);
    });
    for (unsigned turn = 0; !over.load(); ++turn) team.step(turn % 2);
    foreign.join();
    team.stop();
    EXPECT_EQ(seen.size(), 6u);
    for (const std::thread::id one : seen) EXPECT_EQ(one, std::this_thread::get_id());
    // A turn resumes what is ready until nothing is: the child at home is through before the other.
    EXPECT_EQ(order, (std::vector<unsigned>{0, 0, 0, 1, 1, 1}));
}

TEST_P(loops_test, refuses_numbers_of_loops_that_make_no_sense) {
    for (const unsigned loops : {0u, 100'000u}) {
        try {
            in_loops(loops, note_where(*std::make_unique<seen_loops>()));
            FAIL() << loops;
        } catch (const io_error& error) {
            EXPECT_NE(std::string(error.what()).find("options.loops"), std::string::npos)
                << error.what();
        }
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
