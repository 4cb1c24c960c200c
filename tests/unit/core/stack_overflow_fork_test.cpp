// A child that was forked while another thread began or ended to watch for overflows can watch too.
#include "core/stack_overflow.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "unit/core/core_fixture.hpp"

namespace coro::detail {
namespace {

/// Its lock is held for most of the time.
void watch_until(const std::atomic<bool>& ended, std::atomic<bool>& began) {
    while (!ended.load(std::memory_order_relaxed)) {
        const overflow_watch watch;
        began.store(true, std::memory_order_release);
    }
}

TEST(stack_overflow_fork, a_child_can_watch_whatever_other_threads_did) {
    std::atomic<bool> ended{false};
    std::atomic<bool> began{false};
    std::thread other([&] { watch_until(ended, began); });
    while (!began.load(std::memory_order_acquire)) std::this_thread::yield();
    int hung = 0;
    for (int i = 0; i < coro_test::scaled(200, 5); ++i) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::alarm(60);  // against hanging
            { const overflow_watch watch; }
            ::_exit(0);
        }
        int status = -1;
        const bool ended_well = ::waitpid(child, &status, 0) == child && status == 0;
        if (!ended_well) {
            ++hung;
            break;
        }
    }
    ended.store(true, std::memory_order_relaxed);
    other.join();
    EXPECT_EQ(hung, 0) << "a child waits for a lock that a thread of its parent held";
}

}  // namespace
}  // namespace coro::detail
