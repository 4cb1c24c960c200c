// When a loop that has nothing to wait for looks again, and when it counts as silent.
#include "runtime/stall_watch.hpp"

#include <chrono>

#include <gtest/gtest.h>

namespace coro { inline namespace v0 { namespace detail {
namespace {

using namespace std::chrono_literals;

class loop_silence_test : public ::testing::Test {
protected:
    /// The loop sleeps at `at`, having done `work`; returns in how long it looks again.
    duration sleeps(std::uint64_t work, duration at) {
        const time_point now = time_point() + at;
        return silence_.look_again(work, now, 1s, stalls_) - now;
    }
    bool stalls_ = true;
    loop_silence silence_;
};

TEST_F(loop_silence_test, it_stalls_when_it_has_done_nothing_for_the_limit) {
    EXPECT_EQ(sleeps(7, 10s), 1s);
    EXPECT_FALSE(stalls_);
    EXPECT_EQ(sleeps(7, 10500ms), 500ms) << "woken for nothing: the limit is no longer for it";
    EXPECT_FALSE(stalls_);
    EXPECT_EQ(sleeps(7, 11s), 2s);
    EXPECT_TRUE(stalls_);
    EXPECT_EQ(sleeps(7, 12s), 1s);
    EXPECT_TRUE(stalls_) << "woken for nothing";
}

TEST_F(loop_silence_test, work_begins_it_anew) {
    static_cast<void>(sleeps(7, 10s));
    static_cast<void>(sleeps(7, 11s));
    ASSERT_TRUE(stalls_);
    EXPECT_EQ(sleeps(8, 11s), 1s);
    EXPECT_FALSE(stalls_);
}

TEST_F(loop_silence_test, it_looks_ever_less_often_and_at_least_once_a_minute) {
    duration at = 10s;
    duration last = sleeps(7, at);
    for (int looks = 0; looks < 10; ++looks) {
        at += last;
        const duration next = sleeps(7, at);
        EXPECT_EQ(next, std::min<duration>(2 * last, 60s));
        last = next;
    }
    EXPECT_EQ(last, 60s);
}

TEST_F(loop_silence_test, a_limit_of_zero_is_a_millisecond) {
    bool stalls = true;
    loop_silence silence;
    EXPECT_EQ(silence.look_again(1, time_point(), -1s, stalls), time_point() + 1ms);
    EXPECT_FALSE(stalls);
}

}  // namespace
}}}  // namespace coro::v0::detail
