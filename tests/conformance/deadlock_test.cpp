// A run in which nothing can happen any more ends with the dump; one that something can wake goes
// on.
#include <unistd.h>

#include <array>
#include <atomic>
#include <coroutine>
#include <csignal>
#include <functional>
#include <future>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <thread>

#include <coro/core/fiber.hpp>
#include <coro/net/readiness.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/signal_set.hpp>
#include <coro/runtime/stop_token.hpp>

#include "child_process.hpp"
#include "net_test_support.hpp"

// Not in the library's namespace: the dump names the program's own frames.
namespace deadlock_program {

static coro::task<> wait_and_set(coro::event& first, coro::event& then) {
    co_await first.wait();
    then.set();
}

/// Two tasks, each of which waits for the other one; the second is on the last loop.
static coro::task<> wait_for_each_other(int& unwound) {
    coro::event left;
    coro::event right;
    const auto children = [&](coro::task_group& group) -> coro::task<> {
        group.spawn({.name = "left"}, wait_and_set, std::ref(left), std::ref(right));
        group.spawn({.name = "right", .loop = coro::loop_count() - 1}, wait_and_set,
                    std::ref(right), std::ref(left));
        co_return;
    };
    struct counts_end {
        int& count;
        explicit counts_end(int& of) noexcept : count(of) {}
        ~counts_end() { ++count; }
    } const counted(unwound);
    co_await coro::with_task_group(children);
}

static coro::task<> sleep_and_set(coro::event& then) {
    co_await coro::sleep_for(std::chrono::milliseconds(30));
    then.set();
}
static coro::task<> wait_for(coro::event& gate) { co_await gate.wait(); }
static coro::task<> wait_shielded(coro::event& gate) {
    co_await coro::shield(wait_for(gate), coro::duration::max());
}

}  // namespace deadlock_program

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using namespace deadlock_program;
using namespace std::chrono_literals;

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

class deadlock_test : public world_test {
protected:
    /// Looks at once whether something can wake a task.
    [[nodiscard]] run_options eager(unsigned loops = 1) const {
        run_options how = with_loops(loops);
        how.deadlock_limit = 1ms;
        return how;
    }
    [[nodiscard]] std::string deadlock_in(task<> main, const run_options& how) const {
        try {
            run(std::move(main), how);
        } catch (const deadlock& stuck) {
            return stuck.what();
        }
        return {};
    }
    /// Runs `body()`, which something wakes after `late`.
    template <typename Body>
    void goes_on(Body body, unsigned loops = 1) const {
        EXPECT_NO_THROW(run(body(), eager(loops)));
    }
    static constexpr auto late = 30ms;
};
INSTANTIATE_TEST_SUITE_P(real_worlds, deadlock_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(deadlock_test, tasks_that_wait_for_each_other_end_the_run_with_their_dump) {
    for (const unsigned loops : {1u, 3u}) {
        int unwound = 0;
        const std::string text = deadlock_in(wait_for_each_other(unwound), eager(loops));
        EXPECT_EQ(unwound, 1);
        EXPECT_TRUE(text.starts_with("run: nothing can ever happen again: every task waits, and no "
                                     "timer, operation, thread or signal can wake one:\n"))
            << text;
        EXPECT_TRUE(contains(text, " left deadlock_test.cpp:")) << text;
        EXPECT_TRUE(contains(text, " right deadlock_test.cpp:")) << text;
        EXPECT_TRUE(contains(text, " main deadlock_test.cpp:")) << text;
        EXPECT_EQ(contains(text, "loop 2:\n"), loops == 3) << text;
    }
    in_loops(1, []() -> task<> { co_return; }());  // the next run is not disturbed
}

TEST_P(deadlock_test, fibers_are_found_as_coroutines_are) {
    const auto body = []() -> task<> {
        event gate;
        co_await fiber([&] { await(gate.wait()); });
    };
    EXPECT_TRUE(contains(deadlock_in(body(), eager()), "wait for event"));
}

TEST_P(deadlock_test, it_is_what_a_simulation_throws_too) {
    int unwound = 0;
    EXPECT_TRUE(contains(deadlock_in(wait_for_each_other(unwound),
                                     options_for(poller_choice::simulation)),
                         " left deadlock_test.cpp:"));
    EXPECT_EQ(unwound, 1);
}

TEST_P(deadlock_test, what_main_throws_after_the_cancellation_is_kept) {
    const auto body = []() -> task<> {
        event gate;
        try {
            co_await gate.wait();
        } catch (const cancelled&) {
            throw std::runtime_error("the clean-up failed");
        }
    };
    try {
        run(body(), eager());
        FAIL() << "nothing was thrown";
    } catch (const deadlock& stuck) {
        EXPECT_TRUE(std::string(stuck.what()).ends_with(
            "\nmain then ended with an exception: the clean-up failed"))
            << stuck.what();
        EXPECT_THROW(std::rethrow_if_nested(stuck), std::runtime_error);
    }
}

TEST_P(deadlock_test, tasks_that_do_not_end_abort_with_the_sentence) {
    child_process child([this](parent_line line) {
        ::dup2(line.descriptor(), STDERR_FILENO);
        event gate;
        run(wait_shielded(gate), eager());
        return 0;
    });
    const std::string words = child.all_words();
    EXPECT_TRUE(contains(words, "#1 main deadlock_test.cpp:")) << words;
    EXPECT_TRUE(contains(words, "run: nothing can ever happen again, and these tasks did not end "
                                "when they were cancelled"))
        << words;
    EXPECT_TRUE(child.killed_by(SIGABRT));
}

TEST_P(deadlock_test, a_timer_goes_on) {
    goes_on([]() -> task<> { co_await sleep_for(late); });
    goes_on([]() -> task<> {
        event gate;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, sleep_and_set, std::ref(gate));
            co_await gate.wait();
        };
        co_await with_task_group(body);
    }, 2);
}

TEST_P(deadlock_test, a_thread_with_a_loop_handle_goes_on) {
    goes_on([]() -> task<> {
        event gate;
        std::jthread poster([&gate, home = loop_handle::of_this_loop()] {
            std::this_thread::sleep_for(late);
            home.post([&gate] { gate.set(); });
        });
        co_await gate.wait();
    });
}

TEST_P(deadlock_test, a_thread_that_waits_for_a_task_goes_on) {
    goes_on([]() -> task<> {
        event gate;
        std::jthread waiter([&gate, home = loop_handle::of_this_loop()] {
            sync_wait(home, sleep_and_set(gate));
        });
        co_await gate.wait();
    }, 2);
}

TEST_P(deadlock_test, a_handle_that_is_dropped_wakes_nobody_any_more) {
    const auto body = []() -> task<> {
        event gate;
        std::jthread holder([home = std::optional(loop_handle::of_this_loop())]() mutable {
            std::this_thread::sleep_for(late);
            home.reset();
        });
        co_await gate.wait();
    };
    EXPECT_TRUE(contains(deadlock_in(body(), eager()), "wait for event"));
}

TEST_P(deadlock_test, a_stop_token_goes_on) {
    std::stop_source source;
    std::jthread stopper([source]() mutable {
        std::this_thread::sleep_for(2 * late);
        source.request_stop();
    });
    goes_on([token = source.get_token()]() -> task<> {
        event gate;
        EXPECT_FALSE(co_await with_stop_token(token, gate.wait()));
    });
}

/// An awaitable of another library, which resumes on a thread of its own.
class resumed_by_a_thread {
public:
    explicit resumed_by_a_thread(std::jthread& by) noexcept : by_(by) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
        by_ = std::jthread([waiter] {
            std::this_thread::sleep_for(30ms);
            waiter.resume();
        });
    }
    void await_resume() const noexcept {}

private:
    std::jthread& by_;
};

TEST_P(deadlock_test, an_awaitable_of_another_library_goes_on) {
    std::jthread thread;
    goes_on([&]() -> task<> { co_await resumed_by_a_thread(thread); });
}

TEST_P(deadlock_test, a_descriptor_goes_on) {
    std::array<int, 2> ends{-1, -1};
    ASSERT_EQ(::pipe(ends.data()), 0);
    std::jthread writer([&] {
        std::this_thread::sleep_for(late);
        EXPECT_EQ(::write(ends[1], "x", 1), 1);
    });
    goes_on([&]() -> task<> { co_await readable(ends[0]); }, 2);
    writer.join();
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_P(deadlock_test, a_listener_goes_on) {
    std::jthread client;
    goes_on([&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        client = std::jthread([this, where = listener.local_endpoint()] {
            std::this_thread::sleep_for(late);
            in_loops(1, [](net::endpoint to) -> task<> {
                const net::tcp_stream stream = co_await net::tcp_stream::connect(to);
            }(where));
        });
        const net::tcp_stream stream = co_await listener.accept();
    });
}

TEST_P(deadlock_test, a_blocking_call_goes_on) {
    goes_on([]() -> task<> { co_await blocking([] { std::this_thread::sleep_for(late); }); }, 2);
}

TEST_P(deadlock_test, a_signal_for_which_a_task_waits_goes_on) {
    std::atomic<bool> watched{false};
    std::jthread sender([&] {
        while (!watched) std::this_thread::yield();
        std::this_thread::sleep_for(late);
        ::kill(::getpid(), SIGUSR1);
    });
    goes_on([&]() -> task<> {
        signal_set signals{SIGUSR1};
        watched = true;
        EXPECT_EQ(co_await signals.next(), SIGUSR1);
    });
}

TEST_P(deadlock_test, a_task_that_waits_for_the_stop_goes_on_and_another_one_does_not) {
    std::jthread sender;
    const auto waits_for_stop = [&]() -> task<> {
        event gate;
        sender = std::jthread([] {
            std::this_thread::sleep_for(late);
            ::kill(::getpid(), SIGTERM);
        });
        EXPECT_FALSE(co_await until_stop(gate.wait()));
    };
    run_options how = eager();
    how.signals = signal_policy::handle;
    how.drain = 1min;
    EXPECT_NO_THROW(run(waits_for_stop(), how));
    event gate;
    EXPECT_TRUE(contains(deadlock_in(wait_for(gate), how), "wait for event"));
}

TEST_P(deadlock_test, a_limit_of_max_waits_for_ever) {
    std::jthread sender;
    const auto body = [&]() -> task<> {
        event gate;
        sender = std::jthread([] {
            std::this_thread::sleep_for(late);
            ::kill(::getpid(), SIGTERM);
        });
        co_await gate.wait();
    };
    run_options how = eager();
    how.deadlock_limit = duration::max();
    how.signals = signal_policy::handle;
    EXPECT_THROW(run(body(), how), interrupted);
}

/// Loops and threads wake each other again and again, at any moment of a sleep.
TEST_P(deadlock_test, a_storm_of_late_wake_ups_finds_none) {
    constexpr int rounds = 40;
    goes_on([]() -> task<> {
        for (int round = 0; round < rounds; ++round) {
            event gate;
            std::jthread poster([&gate, round, home = loop_handle::of_this_loop()] {
                std::this_thread::sleep_for(std::chrono::microseconds(150 * (round % 20)));
                home.post([&gate] { gate.set(); });
            });
            const auto relay = [&](task_group& group) -> task<> {
                event passed;
                group.spawn({.loop = 1}, wait_and_set, std::ref(gate), std::ref(passed));
                co_await passed.wait();
            };
            co_await with_task_group(relay);
        }
    }, 2);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
