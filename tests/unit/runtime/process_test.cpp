// The limit of open files: raised to the hard one, and given back to a child made by fork(2).
#include "runtime/process.hpp"

#include <cstdlib>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace coro::detail {
namespace {

constexpr rlim_t soft = 256;

rlimit limit_now() {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    return limit;
}

/// Each answer has its own exit status; in a process of its own, because the limit is raised once.
[[noreturn]] void raise_and_fork() {
    rlimit low = limit_now();
    low.rlim_cur = soft;
    if (::setrlimit(RLIMIT_NOFILE, &low) != 0 || low.rlim_max <= soft) std::_Exit(10);
    raise_descriptor_limit();
    if (limit_now().rlim_cur != low.rlim_max) std::_Exit(11);
    if (descriptor_limit() != low.rlim_max) std::_Exit(12);
    const pid_t child = ::fork();
    if (child == 0) std::_Exit(limit_now().rlim_cur == soft ? 0 : 1);
    int status = -1;
    if (::waitpid(child, &status, 0) != child || status != 0) std::_Exit(13);
    if (limit_now().rlim_cur != low.rlim_max) std::_Exit(14);
    std::_Exit(0);
}

TEST(process_death_test, the_limit_is_raised_and_a_forked_child_has_the_old_one) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(raise_and_fork(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace coro::detail
