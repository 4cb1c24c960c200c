// fork() inside of a running loop: a child that only exits or executes something disturbs nobody;
// one that goes on to use the ring of its parent ends with a sentence.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <thread>

#include "net_test_support.hpp"

namespace coro::inline v0::detail::conformance {
namespace {

class fork_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, fork_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

enum class child_does : std::uint8_t { exit, execute, spawned };

/// Answers the status of the child.
int fork_a_child(child_does what) {
    if (what == child_does::spawned) {
        std::array<char*, 2> arguments{const_cast<char*>("true"), nullptr};
        pid_t child = -1;
        int status = -1;
        EXPECT_EQ(::posix_spawn(&child, "/bin/true", nullptr, nullptr, arguments.data(), environ),
                  0);
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        return status;
    }
    const pid_t child = ::fork();
    if (child == 0) {
        if (what == child_does::execute) ::execl("/bin/true", "true", static_cast<char*>(nullptr));
        ::_exit(0);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}

TEST_P(fork_test, a_child_that_exits_or_executes_disturbs_nobody) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        for (const child_does what :
             {child_does::exit, child_does::execute, child_does::spawned}) {
            const auto busy = [&](task_group& group) -> task<> {
                // A read and a timer are pending while the process forks.
                group.spawn([](net::tcp_stream& from) -> task<> { co_await hear(from, "after"); },
                            std::ref(pair.near));
                group.spawn([]() -> task<> { co_await sleep_for(20ms); });
                co_await sleep_for(2ms);
                EXPECT_EQ(fork_a_child(what), 0);
                co_await say(pair.far, "after");
            };
            co_await with_task_group(busy);
        }
        co_await say(pair.near, "and the other way");
        co_await hear(pair.far, "and the other way");
    };
    in_world(body);
}

// --- a child that goes on in the loop of its parent

/// What the child does with the streams of its parent; none of it may come to an end.
using child_program = task<> (*)(stream_pair& pair);

struct told {
    std::string text;
    int status = 0;
};

/// Forks in a task that has a read pending in another one, and returns what the child said.
task<> fork_and_go_on(stream_pair& pair, child_program program, told& result) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        co_await program(pair);
        ::_exit(0);
    }
    ::close(ends[1]);
    std::array<char, 512> buffer{};
    for (ssize_t n = 1; n > 0;) {
        n = ::read(ends[0], buffer.data(), buffer.size());
        if (n > 0) result.text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    ::close(ends[0]);
    EXPECT_EQ(::waitpid(child, &result.status, 0), child);
}

TEST_P(fork_test, a_child_that_goes_on_in_the_loop_of_its_parent_ends_with_a_sentence) {
    const child_program programs[] = {
        [](stream_pair& pair) -> task<> { co_await say(pair.near, "from the child"); },
        [](stream_pair& pair) -> task<> { co_await read_to_end(pair.far); },
        [](stream_pair&) -> task<> { co_await sleep_for(1ms); },
        [](stream_pair& pair) -> task<> {
            pair.near.shutdown_send();
            co_return;
        },
        [](stream_pair& pair) -> task<> {
            pair.near.set_options({.no_delay = true});
            co_return;
        },
        [](stream_pair& pair) -> task<> {
            pair.near = net::tcp_stream();
            co_return;
        },
        [](stream_pair&) -> task<> {
            static_cast<void>(net::tcp_listener::bind(net::endpoint::loopback(0)));
            co_return;
        },
        [](stream_pair&) -> task<> {  // after a run of its own it is the same as before
            run([]() -> task<> { co_return; }(), options_for(poller_choice::automatic));
            co_await sleep_for(1ms);
        },
    };
    const auto body = [&]() -> task<> {
        for (const child_program program : programs) {
            stream_pair pair;
            co_await pair.open();
            told by_child;
            const auto busy = [&](task_group& group) -> task<> {
                group.spawn([](net::tcp_stream& from) -> task<> { co_await hear(from, "before"); },
                            std::ref(pair.near));
                co_await yield();
                co_await fork_and_go_on(pair, program, by_child);
                co_await say(pair.far, "before");
            };
            co_await with_task_group(busy);
            EXPECT_TRUE(WIFSIGNALED(by_child.status) && WTERMSIG(by_child.status) == SIGABRT)
                << by_child.status;
            EXPECT_NE(by_child.text.find("a child process went on in the loop of its parent after "
                                         "fork(2): let the child call exec, _exit, or a run of its "
                                         "own"), std::string::npos) << by_child.text;
            // The parent's own bytes are the only ones, in both directions.
            co_await say(pair.near, "from the parent");
            pair.near.shutdown_send();
            const std::string there = co_await read_to_end(pair.far);
            EXPECT_EQ(there, "from the parent");
            pair.far.shutdown_send();
            const std::string back = co_await read_to_end(pair.near);
            EXPECT_EQ(back, "");
        }
    };
    in_world(body);
}

// --- a child with a run of its own

task<> talk_to_itself(bool& done) {
    stream_pair pair;
    co_await pair.open();
    co_await say(pair.near, "own");
    co_await hear(pair.far, "own");
    co_await sleep_for(1ms);
    done = true;
}

int run_here(poller_choice world) {
    bool heard = false;
    run(talk_to_itself(heard), options_for(world));
    return heard ? 0 : 1;
}
int run_on_a_thread(poller_choice world) {
    int status = 1;
    std::thread([&] { status = run_here(world); }).join();
    return status;
}

/// Forks while a read of another task is pending, and has the child run.
void fork_and_run(poller_choice world, int (*program)(poller_choice)) {
    const pid_t child = ::fork();
    if (child == 0) {
        int status = program(world);
        if (status == 0) status = program(world);  // and once more
        ::_exit(status);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST_P(fork_test, a_child_may_have_a_run_of_its_own_and_disturbs_nobody) {
    const auto body = [&]() -> task<> {
        for (int (*const program)(poller_choice) : {run_here, run_on_a_thread}) {
            stream_pair pair;
            co_await pair.open();
            const auto busy = [&](task_group& group) -> task<> {
                group.spawn([](net::tcp_stream& from) -> task<> { co_await hear(from, "after"); },
                            std::ref(pair.near));
                co_await yield();
                fork_and_run(GetParam(), program);
                co_await say(pair.far, "after");
            };
            co_await with_task_group(busy);
        }
    };
    in_world(body);
}

TEST_P(fork_test, also_from_a_fiber_and_from_another_loop) {
    const auto main = []() -> task<> {
        const auto on_other_loop = [](poller_choice world) -> task<> {
            fork_and_run(world, run_here);
            co_return;
        };
        const auto children = [&](task_group& group) -> task<> {
            group.spawn_fiber({.stack_bytes = 1 << 20},
                              [world = GetParam()] { fork_and_run(world, run_here); });
            co_await group.join();
            group.spawn({.loop = 1}, on_other_loop, GetParam());
        };
        co_await with_task_group(children);
    };
    in_loops(2, main());
}

/// The same in a child that was forked between two runs.
TEST_P(fork_test, a_child_that_is_forked_after_a_run_may_run) {
    EXPECT_EQ(run_here(GetParam()), 0);
    fork_and_run(GetParam(), run_here);
    EXPECT_EQ(run_here(GetParam()), 0);
}

}  // namespace
}  // namespace coro::inline v0::detail::conformance
