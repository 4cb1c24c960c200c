// The limit of open files: raised to the hard one, and given back to a child made by fork(2).
#include "runtime/process.hpp"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <coro/runtime/stats.hpp>

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
    if (open_file_limit() != low.rlim_max) std::_Exit(12);
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

/// A worker that is forked after a run, and its own child; then the parent, whose limit stays.
[[noreturn]] void raise_in_a_worker() {
    rlimit low = limit_now();
    low.rlim_cur = soft;
    if (::setrlimit(RLIMIT_NOFILE, &low) != 0 || low.rlim_max <= soft) std::_Exit(10);
    raise_descriptor_limit();
    raise_descriptor_limit();
    const pid_t worker = ::fork();
    if (worker == 0) {
        if (limit_now().rlim_cur != soft) std::_Exit(1);
        raise_descriptor_limit();
        if (limit_now().rlim_cur != low.rlim_max) std::_Exit(2);
        const pid_t child = ::fork();
        if (child == 0) std::_Exit(limit_now().rlim_cur == soft ? 0 : 1);
        int status = -1;
        std::_Exit(::waitpid(child, &status, 0) == child && status == 0 ? 0 : 3);
    }
    int status = -1;
    if (::waitpid(worker, &status, 0) != worker || !WIFEXITED(status)) std::_Exit(20);
    if (WEXITSTATUS(status) != 0) std::_Exit(20 + WEXITSTATUS(status));
    std::_Exit(limit_now().rlim_cur == low.rlim_max ? 0 : 30);
}

TEST(process_death_test, a_worker_forked_after_a_run_raises_it_again) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(raise_in_a_worker(), testing::ExitedWithCode(0), "");
}

/// What a shell under popen sees; the remedy of the guide lowers it.
[[noreturn]] void raise_and_popen() {
    rlimit low = limit_now();
    low.rlim_cur = soft;
    if (::setrlimit(RLIMIT_NOFILE, &low) != 0 || low.rlim_max <= soft) std::_Exit(10);
    raise_descriptor_limit();
    const auto words_of = [](const char* command) {
        FILE* const from = ::popen(command, "r");
        std::array<char, 64> line{};
        const bool read = from != nullptr && std::fgets(line.data(), line.size(), from) != nullptr;
        if (from != nullptr) ::pclose(from);
        return read ? std::string(line.data()) : std::string();
    };
    if (words_of("ulimit -Sn") != std::to_string(low.rlim_max) + "\n") std::_Exit(11);
    if (words_of("ulimit -Sn 100; ulimit -Sn") != "100\n") std::_Exit(12);
    std::_Exit(0);
}

TEST(process_death_test, a_child_of_popen_keeps_the_raised_limit_unless_its_command_lowers_it) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(raise_and_popen(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace coro::detail
