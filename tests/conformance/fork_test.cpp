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

/// In the child: goes on with the loop of its parent.
task<> use_the_loop(net::tcp_stream& stream) {
    co_await say(stream, "from the child");
    co_await sleep_for(1ms);
}

TEST_P(fork_test, a_child_that_uses_the_ring_ends_with_a_sentence) {
    if (GetParam() != poller_choice::io_uring) return;  // an epoll set is shared: nothing to refuse
    std::string text;
    int status = 0;
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        std::array<int, 2> ends{};
        EXPECT_EQ(::pipe(ends.data()), 0);
        const pid_t child = ::fork();
        if (child == 0) {
            ::dup2(ends[1], STDERR_FILENO);
            co_await use_the_loop(pair.near);
            ::_exit(0);
        }
        ::close(ends[1]);
        std::array<char, 512> buffer{};
        for (ssize_t n = 1; n > 0;) {
            n = ::read(ends[0], buffer.data(), buffer.size());
            if (n > 0) text.append(buffer.data(), static_cast<std::size_t>(n));
        }
        ::close(ends[0]);
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        // The parent's own bytes are the only ones.
        co_await say(pair.near, "from the parent");
        pair.near.shutdown_send();
        EXPECT_EQ(co_await read_to_end(pair.far), "from the parent");
    };
    in_world(body);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) << status;
    EXPECT_NE(text.find("fork"), std::string::npos) << text;
}

/// A loop of its own, on a thread of its own: that of its parent is none of its business.
int run_another_loop(poller_choice world) {
    bool heard = false;
    std::thread([&] {
        run(
            [](bool& done) -> task<> {
                stream_pair pair;
                co_await pair.open();
                co_await say(pair.near, "own");
                co_await hear(pair.far, "own");
                done = true;
            }(heard),
            options_for(world));
    }).join();
    return heard ? 0 : 1;
}

TEST_P(fork_test, a_child_may_run_a_loop_of_its_own_and_disturbs_nobody) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto busy = [&](task_group& group) -> task<> {
            group.spawn([](net::tcp_stream& from) -> task<> { co_await hear(from, "after"); },
                        std::ref(pair.near));
            co_await sleep_for(2ms);
            const pid_t child = ::fork();
            if (child == 0) ::_exit(run_another_loop(GetParam()));
            int status = -1;
            EXPECT_EQ(::waitpid(child, &status, 0), child);
            EXPECT_EQ(status, 0);
            co_await say(pair.far, "after");
        };
        co_await with_task_group(busy);
    };
    in_world(body);
}

}  // namespace
}  // namespace coro::inline v0::detail::conformance
