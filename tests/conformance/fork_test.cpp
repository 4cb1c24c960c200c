// fork() inside of a running loop: a child that only exits or executes something disturbs nobody;
// one that goes on to use the ring of its parent ends with a sentence.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>
#include <optional>
#include <string_view>
#include <thread>

#include <coro/net/local.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/mutex.hpp>
#include <coro/runtime/semaphore.hpp>

#include "net_test_support.hpp"

// In a child of a process with several threads the thread sanitizer of clang 19 makes two calls of
// epoll_pwait2(2) out of one and drops what the first returned (seen by strace): edges are lost. So
// the two tests that fork from one loop of several are not compiled there.
#define CORO_UNDER_TSAN 0
#if defined(__SANITIZE_THREAD__)
#undef CORO_UNDER_TSAN
#define CORO_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef CORO_UNDER_TSAN
#define CORO_UNDER_TSAN 1
#endif
#endif

namespace coro { inline namespace v0 { namespace detail::conformance {
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

constexpr std::string_view sentence =
    "a child process went on in the loop of its parent after fork(2): let the child call exec, "
    "_exit, or a run of its own";

/// Forks, runs `program(arguments...)` in the child, and returns what the child said.
template <typename Program, typename... Arguments>
task<> fork_and_go_on(told& result, Program program, Arguments&... arguments) {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe(ends.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], STDERR_FILENO);
        co_await program(arguments...);
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
                co_await fork_and_go_on(by_child, program, pair);
                co_await say(pair.far, "before");
            };
            co_await with_task_group(busy);
            EXPECT_TRUE(WIFSIGNALED(by_child.status) && WTERMSIG(by_child.status) == SIGABRT)
                << by_child.status;
            EXPECT_NE(by_child.text.find(sentence), std::string::npos) << by_child.text;
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

/// A file is everybody's: a child that closes the listener of its parent does not remove it.
TEST_P(fork_test, a_child_leaves_the_file_of_its_parents_listener) {
    const std::string path = ::testing::TempDir() + "coro-fork-" + std::to_string(::getpid());
    const auto body = [&]() -> task<> {
        net::local_listener listener = net::local_listener::bind(net::local_address::path(path));
        const auto close_it = [](net::local_listener& theirs) -> task<> {
            theirs.close();
            co_return;
        };
        told by_child;
        co_await fork_and_go_on(by_child, close_it, listener);
        EXPECT_TRUE(WIFSIGNALED(by_child.status) && WTERMSIG(by_child.status) == SIGABRT)
            << by_child.status;
        EXPECT_NE(by_child.text.find(sentence), std::string::npos) << by_child.text;
        EXPECT_EQ(::access(path.c_str(), F_OK), 0);
        net::local_stream client =
            co_await net::local_stream::connect(net::local_address::path(path));
        const net::local_stream server = co_await listener.accept();
        EXPECT_TRUE(server);
    };
    in_world(body);
    EXPECT_NE(::access(path.c_str(), F_OK), 0);
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

#if !CORO_UNDER_TSAN
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
#endif

// --- what the run of the parent has used, in a run of the child's own

/// What a program keeps in static variables; each is made outside of any run.
struct kept_objects {
    mutex guard;
    event news;
    semaphore slots{2};
    channel<int> numbers{4};
};

/// Uses all of them, with and without waiting.
task<> use(kept_objects& kept) {
    EXPECT_TRUE(kept.guard.try_lock());
    const auto lock = co_await kept.guard.lock();
    kept.news.set();
    co_await kept.news.wait();
    kept.news.reset();
    const auto permit = co_await kept.slots.acquire(2);
    EXPECT_TRUE(kept.numbers.try_send(1));
    co_await kept.numbers.send(2);
    for (int number = 1; number <= 2; ++number) {
        const std::optional<int> received = co_await kept.numbers.receive();
        EXPECT_EQ(received, number);
    }
}

using place_to_use = int (*)(poller_choice world, kept_objects& kept);

/// Runs in the child, twice, and returns its status.
int fork_and_use(poller_choice world, kept_objects& kept, place_to_use where) {
    const pid_t child = ::fork();
    if (child == 0) {
        const int first = where(world, kept);
        const int second = where(world, kept);
        ::_exit(first + second);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return status;
}
int use_here(poller_choice world, kept_objects& kept) {
    run(use(kept), options_for(world));
    return ::testing::Test::HasFailure() ? 1 : 0;
}
int use_on_a_thread(poller_choice world, kept_objects& kept) {
    int status = 1;
    std::thread([&] { status = use_here(world, kept); }).join();
    return status;
}

TEST_P(fork_test, what_the_parents_run_has_used_is_free_for_a_run_of_the_childs_own) {
    kept_objects kept;
    const auto body = [&]() -> task<> {
        kept_objects made_here;
        for (kept_objects* const each : {&kept, &made_here}) {
            co_await use(*each);
            for (const place_to_use where : {use_here, use_on_a_thread})
                EXPECT_EQ(fork_and_use(GetParam(), *each, where), 0);
            co_await use(*each);
        }
    };
    in_world(body);
}

#if !CORO_UNDER_TSAN
TEST_P(fork_test, so_it_is_in_a_run_of_several_loops) {
    kept_objects kept;
    const auto main = [&]() -> task<> {
        const auto there = [](poller_choice world, kept_objects& of) -> task<> {
            EXPECT_EQ(fork_and_use(world, of, use_here), 0);
            co_return;
        };
        co_await use(kept);
        const auto children = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, there, GetParam(), std::ref(kept));
            co_await group.join();
            EXPECT_EQ(fork_and_use(GetParam(), kept, use_here), 0);
        };
        co_await with_task_group(children);
        co_await use(kept);
    };
    in_loops(2, main());
}
#endif

TEST_P(fork_test, who_goes_on_in_the_parents_loop_with_what_both_have_used_ends_with_a_sentence) {
    kept_objects kept;
    const auto in_child = [&]() -> task<> {
        run(use(kept), options_for(GetParam()));
        co_await use(kept);
        co_await sleep_for(1ms);
    };
    const auto body = [&]() -> task<> {
        co_await use(kept);
        told by_child;
        co_await fork_and_go_on(by_child, std::cref(in_child));
        EXPECT_TRUE(WIFSIGNALED(by_child.status) && WTERMSIG(by_child.status) == SIGABRT)
            << by_child.status;
        EXPECT_NE(by_child.text.find(sentence), std::string::npos) << by_child.text;
        co_await use(kept);
    };
    in_world(body);
}

// --- between two runs

/// The same in a child that was forked between two runs.
TEST_P(fork_test, a_child_that_is_forked_after_a_run_may_run) {
    EXPECT_EQ(run_here(GetParam()), 0);
    fork_and_run(GetParam(), run_here);
    EXPECT_EQ(run_here(GetParam()), 0);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
