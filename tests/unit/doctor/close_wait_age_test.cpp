// What coro-doctor says of the age of a connection in CLOSE_WAIT: which bound it believes.
#include <gtest/gtest.h>

#include <chrono>

#include "doctor/process_census.hpp"

namespace coro_doctor {
namespace {

using namespace std::chrono_literals;

TEST(close_wait_age_test, is_young_below_a_minute) {
    EXPECT_EQ(judge_age(0s, 0s), close_wait_age::young);
    EXPECT_EQ(judge_age(59s, 59999ms), close_wait_age::young);
}

TEST(close_wait_age_test, is_old_where_the_peer_has_sent_nothing_for_a_minute) {
    EXPECT_EQ(judge_age(60s, 60s), close_wait_age::old);
    EXPECT_EQ(judge_age(1h, 2h), close_wait_age::old);
}

/// A listener of coro has dead_peer of 60 s on: the first probe goes after 45 s, and its answer is
/// a segment. So the lower bound never reaches a minute while the peer's host answers.
TEST(close_wait_age_test, answers_to_keepalive_probes_hide_no_leak) {
    EXPECT_EQ(judge_age(45s, 1h), close_wait_age::perhaps_old);
    EXPECT_EQ(judge_age(0s, 60s), close_wait_age::perhaps_old);
}

}  // namespace
}  // namespace coro_doctor
