// Clocks that jump. The wall clock may do what it likes: the ctest regression.wall_clock runs this
// with one that jumps by a day with every look at it (tests/tools/wall_clock_jumps.cpp). The
// monotonic clock may start anywhere: time namespaces move it, as a host that was up for a year or
// has just booted would have it.
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>

#include "conformance/child_process.hpp"
#include "conformance/net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::regression {
namespace {

using namespace conformance;

/// The kernel's clock, past whatever stands in front of it.
duration since_boot() {
    timespec now{};
    ::syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

task<> sleep_exactly(duration span, std::vector<int>& order, int place) {
    const duration begun = since_boot();
    co_await sleep_for(span);
    order.push_back(place);
    EXPECT_GE(since_boot() - begun, span - 1ms) << "woken too early";  // the turn began before
}

/// Sleeps, deadlines of waits and of scopes, side by side; their order and their lower bounds.
task<> use_all_timers() {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    net::tcp_stream near = co_await net::tcp_stream::connect(listener.local_endpoint());
    net::tcp_stream far = co_await listener.accept();
    std::vector<int> order;
    const auto sleeping = [&](task_group& group) -> task<> {
        for (const int place : {3, 1, 4, 2, 0})
            group.spawn(sleep_exactly, (20 + 15 * place) * 1ms, std::ref(order), place);
        std::array<std::byte, 8> into{};
        for (int i = 0; i < 10; ++i) {
            const duration begun = since_boot();
            EXPECT_FALSE(
                (co_await move_on_after(5ms, near.read_some(mutable_bytes(into)))).has_value());
            EXPECT_GE(since_boot() - begun, 4ms);
            static_cast<void>(std::chrono::system_clock::now());
        }
        co_await say(far, "in time");
        co_await with_timeout(1h, hear(near, "in time"));
    };
    co_await with_task_group(sleeping);
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

class clocks_test : public ::testing::TestWithParam<poller_choice> {};
INSTANTIATE_TEST_SUITE_P(real_worlds, clocks_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(clocks_test, timers_keep_their_order_and_never_fire_early) {
    if (std::getenv("CORO_WALL_CLOCK_JUMPS") != nullptr) {
        const auto first = std::chrono::system_clock::now();
        const auto second = std::chrono::system_clock::now();
        EXPECT_GT(std::chrono::abs(second - first), 12h) << "the wall clock does not jump";
    }
    run(use_all_timers(), options_for(GetParam()));
}

// --- a monotonic clock that starts elsewhere

constexpr int no_namespace = 77;  ///< exit code of a child

/// Empty, or why not. Children of the calling process then have a monotonic clock moved by `span`.
std::string move_clock_of_children(std::chrono::seconds span) {
    constexpr int new_time = 0x80;  // CLONE_NEWTIME: <linux/sched.h>, which glibc's hides
    if (::unshare(new_time) != 0 && ::unshare(CLONE_NEWUSER | new_time) != 0)
        return std::string("unshare(2) of a time namespace answered ") + std::strerror(errno);
    const std::string text = "monotonic " + std::to_string(span.count()) + " 0\n";
    const int offsets = ::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    const bool done = offsets >= 0 && ::write(offsets, text.data(), text.size()) ==
                                          static_cast<ssize_t>(text.size());
    const int error = errno;
    if (offsets >= 0) ::close(offsets);
    return done ? std::string() : std::string("moving the clock: ") + std::strerror(error);
}

/// In the grandchild, whose clock has moved.
int use_moved_clock(poller_choice world, duration before, std::chrono::seconds span) {
    const duration moved = since_boot() - before;
    // What this test itself has taken meanwhile is nothing beside half of the span.
    EXPECT_GT(std::chrono::abs(moved), std::chrono::abs(span) / 2);
    EXPECT_EQ(moved < duration::zero(), span < 0s);
    try {
        run(use_all_timers(), options_for(world));
    } catch (const std::exception& problem) {
        ADD_FAILURE() << problem.what();
    }
    std::fflush(stdout);
    return ::testing::Test::HasFailure() ? 1 : 0;
}

/// With each way of waiting that the poller has.
std::vector<const char*> ways_of(poller_choice world) {
    if (world != poller_choice::io_uring) return {""};
    return {"", "disable=wait_argument"};
}

TEST_P(clocks_test, the_monotonic_clock_may_start_anywhere) {
    const auto up = std::chrono::floor<std::chrono::seconds>(since_boot());
    for (const std::chrono::seconds span : {std::chrono::seconds(400 * 24h), 10s - up}) {
        for (const char* way : ways_of(GetParam())) {
            child_process child([&](parent_line line) {
                const duration before = since_boot();
                if (const std::string why = move_clock_of_children(span); !why.empty()) {
                    line.say(why);
                    return no_namespace;
                }
                const pid_t moved = ::fork();
                if (moved == 0) {
                    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it may hang, and nobody else knows it
                    if (*way != '\0') ::setenv("CORO_URING", way, 1);
                    ::_exit(use_moved_clock(GetParam(), before, span));
                }
                int status = -1;
                ::waitpid(moved, &status, 0);
                return status == 0 ? 0 : 1;
            });
            const std::string words = child.all_words();
            if (child.exited_with(no_namespace)) GTEST_SKIP() << words;
            EXPECT_TRUE(child.exited_with(0)) << "moved by " << span.count() << " s, " << way;
        }
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::regression
