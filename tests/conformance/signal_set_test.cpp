// signal_set on real loops: signals from other threads and processes, several loops, storms; what
// children of the process inherit.
#include <pthread.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <coro/runtime/blocking.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/signal_set.hpp>

#include "child_process.hpp"
#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class signal_set_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, signal_set_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(signal_set_test, a_signal_of_another_thread_wakes_a_loop_that_sleeps) {
    static constexpr int rounds = 300;
    std::atomic<int> asked{0};
    std::thread sender([&] {
        for (int round = 1; round <= rounds; ++round) {
            while (asked.load() < round) std::this_thread::yield();
            ::kill(::getpid(), round % 2 == 0 ? SIGUSR1 : SIGHUP);
        }
    });
    const auto body = [&]() -> task<> {
        signal_set signals{SIGHUP, SIGUSR1};
        for (int round = 1; round <= rounds; ++round) {
            asked.store(round);
            EXPECT_EQ(co_await signals.next(), round % 2 == 0 ? SIGUSR1 : SIGHUP);
        }
    };
    in_world(body);
    sender.join();
}

task<> count_signals(signal_set& from, std::atomic<int>& taken) {
    for (;;) {
        co_await from.next();
        taken.fetch_add(1);
    }
}

TEST_P(signal_set_test, tasks_of_other_loops_may_wait_too) {
    const auto body = [&]() -> task<> {
        signal_set signals{SIGUSR1};
        std::atomic<int> taken{0};
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, count_signals, std::ref(signals), std::ref(taken));
            for (int round = 1; round <= 50; ++round) {
                ::kill(::getpid(), SIGUSR1);
                while (taken.load() < round) co_await sleep_for(100us);
            }
            group.cancel();
        };
        co_await with_task_group(in_group);
        EXPECT_EQ(taken.load(), 50);
    };
    in_loops(2, body());
}

task<> count_here(std::atomic<int>& taken, std::atomic<int>& watching) {
    signal_set signals{SIGUSR1};
    watching.fetch_add(1);
    co_await count_signals(signals, taken);
}

TEST_P(signal_set_test, each_loop_may_have_a_set_of_its_own) {
    const auto body = [&]() -> task<> {
        std::array<std::atomic<int>, 3> taken{};
        std::atomic<int> watching{0};
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned loop = 0; loop < 3; ++loop)
                group.spawn({.loop = loop}, count_here, std::ref(taken[loop]), std::ref(watching));
            while (watching.load() < 3) co_await sleep_for(100us);
            for (int round = 1; round <= 50; ++round) {
                ::kill(::getpid(), SIGUSR1);
                for (const std::atomic<int>& count : taken)
                    while (count.load() < round) co_await sleep_for(100us);
            }
            group.cancel();
        };
        co_await with_task_group(in_group);
    };
    in_loops(3, body());
}

/// Sets come and go on two loops while signals rain on all threads: none is lost to who waits, and
/// no handler meets a set that has gone.
task<> come_and_go(int rounds) {
    for (int round = 0; round < rounds; ++round) {
        signal_set signals{SIGUSR1, SIGUSR2};
        const int number = co_await signals.next();
        EXPECT_TRUE(number == SIGUSR1 || number == SIGUSR2);
        if (round % 4 == 0) co_await yield();
    }
}

TEST_P(signal_set_test, a_storm_over_sets_that_come_and_go) {
    std::atomic<bool> over{false};
    std::atomic<bool> begun{false};
    std::vector<std::thread> senders;
    for (const int number : {SIGUSR1, SIGUSR2}) {
        senders.emplace_back([&, number] {
            while (!begun.load()) std::this_thread::yield();
            while (!over.load()) {
                ::kill(::getpid(), number);
                std::this_thread::yield();
            }
        });
    }
    const auto body = [&]() -> task<> {
        const signal_set so_that_they_never_kill{SIGUSR1, SIGUSR2};
        begun.store(true);
        const auto in_group = [](task_group& group) -> task<> {
            group.spawn({.loop = 0}, come_and_go, 500);
            group.spawn({.loop = 1}, come_and_go, 500);
            co_return;
        };
        co_await with_task_group(in_group);
        over.store(true);
        for (std::thread& sender : senders) sender.join();
    };
    in_loops(2, body());
}

TEST_P(signal_set_test, sigint_and_sigterm_belong_to_run_unless_it_leaves_them) {
    run_options options = options_for(GetParam());
    options.signals = signal_policy::handle;
    const auto refused = []() -> task<> {
        for (const int number : {SIGINT, SIGTERM}) {
            try {
                const signal_set signals{SIGUSR1, number};
                ADD_FAILURE() << "accepted";
            } catch (const io_error& error) {
                EXPECT_EQ(error.code(), std::errc::device_or_resource_busy);
                EXPECT_STREQ(error.what(), "watch SIGINT or SIGTERM, which run() handles unless "
                                           "signals = leave: Device or resource busy");
            }
        }
        co_return;
    };
    run(refused(), options);
    options.signals = signal_policy::leave;
    const auto taken = []() -> task<> {
        signal_set signals{SIGINT, SIGTERM};
        for (const int number : {SIGINT, SIGTERM}) {
            std::raise(number);
            EXPECT_EQ(co_await signals.next(), number);
        }
    };
    run(taken(), options);
}

TEST_P(signal_set_test, a_run_that_comes_later_leaves_them_to_the_set) {
    const auto body = [&]() -> task<> {
        signal_set signals{SIGTERM};
        int other = 0;
        std::thread second([&] {
            run_options options = options_for(GetParam());
            options.signals = signal_policy::handle;
            const auto inner = []() -> task<int> {
                std::raise(SIGTERM);
                co_await sleep_for(5ms);
                co_return stop_requested() ? 1 : 2;
            };
            other = run(inner(), options);
        });
        second.join();
        EXPECT_EQ(other, 2) << "the signal stopped a run that does not have it";
        EXPECT_EQ(co_await signals.next(), SIGTERM);
    };
    run_options options = options_for(GetParam());
    options.signals = signal_policy::leave;
    run(body(), options);
}

// --- children

/// What the tests are started with may ignore signals: nohup does.
class default_dispositions {
public:
    default_dispositions() {
        struct sigaction plain {};
        plain.sa_handler = SIG_DFL;
        for (std::size_t i = 0; i < numbers.size(); ++i)
            ::sigaction(numbers[i], &plain, &before_[i]);
    }
    default_dispositions(const default_dispositions&) = delete;
    default_dispositions& operator=(const default_dispositions&) = delete;
    ~default_dispositions() {
        for (std::size_t i = 0; i < numbers.size(); ++i)
            ::sigaction(numbers[i], &before_[i], nullptr);
    }

private:
    static constexpr std::array numbers{SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    std::array<struct sigaction, numbers.size()> before_{};
};

/// "SigBlk" and "SigIgn" of a child that executes another program: all zero is a clean slate.
std::string masks_of_executed_child() {
    std::array<int, 2> ends{};
    if (::pipe(ends.data()) != 0) return "no pipe";
    const char* const command = "grep -E '^Sig(Blk|Ign)' /proc/self/status";
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    std::array<char*, 4> arguments{const_cast<char*>("sh"), const_cast<char*>("-c"),
                                   const_cast<char*>(command), nullptr};
    pid_t child = -1;
    const int error =
        ::posix_spawn(&child, "/bin/sh", &actions, nullptr, arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    if (error != 0) return "no child";
    std::string text;
    std::array<char, 256> buffer{};
    for (ssize_t n = 1; n > 0;) {
        n = ::read(ends[0], buffer.data(), buffer.size());
        if (n > 0) text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    ::close(ends[0]);
    ::waitpid(child, nullptr, 0);
    return text;
}

task<> look_from_task(std::string& into) {
    into = masks_of_executed_child();
    co_return;
}
void look_from_fiber(std::string& into) {
    coro::await(yield());
    into = masks_of_executed_child();
}

TEST_P(signal_set_test, children_inherit_clean_masks_from_every_kind_of_thread) {
    const default_dispositions as_usual;
    const std::string before = masks_of_executed_child();
    EXPECT_NE(before.find("SigBlk:\t0000000000000000"), std::string::npos) << before;
    std::array<std::string, 4> seen;
    const auto body = [&]() -> task<> {
        signal_set signals{SIGHUP, SIGUSR1};
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 0}, look_from_task, std::ref(seen[0]));
            group.spawn({.loop = 1}, look_from_task, std::ref(seen[1]));
            group.spawn_fiber(look_from_fiber, std::ref(seen[2]));
            seen[3] = co_await blocking(masks_of_executed_child);
        };
        co_await with_task_group(in_group);
    };
    run_options options = with_loops(2);
    options.signals = signal_policy::handle;
    run(body(), options);
    for (const std::string& masks : seen) EXPECT_EQ(masks, before);
}

TEST_P(signal_set_test, a_forked_child_has_the_dispositions_of_before_run) {
    const default_dispositions as_usual;
    const auto body = [&]() -> task<> {
        signal_set signals{SIGHUP};
        for (const int number : {SIGHUP, SIGTERM, SIGINT}) {
            const pid_t child = ::fork();
            if (child == 0) {
                std::raise(number);
                ::_exit(0);
            }
            int status = 0;
            EXPECT_EQ(::waitpid(child, &status, 0), child);
            EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == number) << status;
        }
        // Here nothing has changed.
        EXPECT_FALSE(co_await move_on_after(5ms, signals.next()));
        std::raise(SIGHUP);
        EXPECT_EQ(co_await signals.next(), SIGHUP);
        EXPECT_FALSE(stop_requested());
    };
    run_options options = options_for(GetParam());
    options.signals = signal_policy::handle;
    run(body(), options);
}

/// Children are forked while signals rain: each dies of the first one that it gets, however early.
TEST_P(signal_set_test, a_signal_in_the_middle_of_a_fork_is_not_swallowed) {
    const default_dispositions as_usual;
    const auto body = [&]() -> task<> {
        const signal_set signals{SIGHUP};
        for (int round = 0; round < 100; ++round) {
            const pid_t child = ::fork();
            if (child == 0)
                for (;;) ::pause();
            ::kill(child, SIGHUP);  // most come before the child has run at all
            int status = 0;
            EXPECT_EQ(::waitpid(child, &status, 0), child);
            EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGHUP) << status;
        }
        co_return;
    };
    in_world(body);
}

/// Where the mapping begins that holds `address`.
std::uintptr_t bottom_of_mapping(const void* address) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        unsigned long long begin = 0;
        unsigned long long end = 0;
        if (std::sscanf(line.c_str(), "%llx-%llx", &begin, &end) == 2 && begin <= wanted &&
            wanted < end)
            return begin;
    }
    return wanted;
}

/// What the kernel puts down for a handler does not fit into this any more: 3 KiB with AVX-512.
[[gnu::noinline]] void raise_with_little_left(std::uintptr_t bottom) {
    const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    volatile char* const filler =
        static_cast<volatile char*>(__builtin_alloca(here - bottom - 2048));
    filler[0] = 1;
    std::raise(SIGUSR1);
}

TEST_P(signal_set_test, a_handler_needs_no_room_on_the_stack_of_a_fiber) {
    if (sanitized) return;  // their own interceptors need more than what is left
    const auto body = [&]() -> task<> {
        signal_set signals{SIGUSR1};
        const auto deep = [&signals]() -> int {
            raise_with_little_left(bottom_of_mapping(__builtin_frame_address(0)));
            return coro::await(signals.next());
        };
        EXPECT_EQ(co_await coro::fiber({.stack_bytes = 16 * 1024}, deep), SIGUSR1);
    };
    in_world(body);
}

class signal_set_death_test : public world_test {
protected:
    void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, signal_set_death_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

task<> take_one(signal_set& from) { (void)co_await from.next(); }

void destroy_while_a_task_waits(poller_choice world) {
    const auto body = []() -> task<> {
        auto signals = std::make_unique<signal_set>(std::initializer_list<int>{SIGUSR1});
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(take_one, std::ref(*signals));
            co_await yield();
            signals.reset();
        };
        co_await with_task_group(in_group);
    };
    run(body(), options_for(world));
}

TEST_P(signal_set_death_test, destroying_one_while_a_task_waits_aborts) {
    EXPECT_DEATH(destroy_while_a_task_waits(GetParam()),
                 "a signal_set was destroyed while a task waits for it");
}

task<> drop(std::unique_ptr<signal_set>& there) {
    there.reset();
    co_return;
}

void destroy_on_another_loop(const run_options& options) {
    const auto body = []() -> task<> {
        auto signals = std::make_unique<signal_set>(std::initializer_list<int>{SIGUSR1});
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, drop, std::ref(signals));
            co_return;
        };
        co_await with_task_group(in_group);
    };
    run(body(), options);
}

TEST_P(signal_set_death_test, destroying_one_on_another_loop_aborts) {
    EXPECT_DEATH(destroy_on_another_loop(with_loops(2)),
                 "a signal_set was destroyed outside of its loop");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
