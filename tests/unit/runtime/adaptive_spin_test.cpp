// The decision to spin, fed with times.
#include "runtime/adaptive_spin.hpp"

#include <chrono>
#include <cstdint>

#include <gtest/gtest.h>

namespace coro::detail {
namespace {

using namespace std::chrono_literals;

/// A loop whose silences have given lengths; finds what comes only while it looks.
class idle_loop {
public:
    explicit idle_loop(duration window = 50us) : spin(window) {
        spin.set_room(1, 2);
    }

    /// One silence of this length; returns how long the loop was ready to look.
    duration silence(duration length) {
        const duration span = spin.spin_for(now);
        if (span != duration::zero() && length > span) {
            spin.missed();
            looked += span;
        } else if (span != duration::zero()) {
            looked += length;
        }
        now += length;
        spin.silence_ended(now);
        now += 1us;  // something is done
        return span;
    }

    adaptive_spin spin;
    time_point now = time_point(1h);
    duration looked{};
};

TEST(adaptive_spin, sleeps_at_first_and_spins_after_a_short_silence) {
    idle_loop loop;
    EXPECT_EQ(loop.silence(20us), 0us);
    EXPECT_EQ(loop.silence(20us), 50us);
    EXPECT_EQ(loop.silence(49us), 50us);
    EXPECT_EQ(loop.silence(20us), 50us);
}

TEST(adaptive_spin, does_not_spin_after_a_silence_as_long_as_the_window) {
    idle_loop loop;
    EXPECT_EQ(loop.silence(50us), 0us);
    EXPECT_EQ(loop.silence(20us), 0us);   // after 50 us
    EXPECT_EQ(loop.silence(100us), 50us); // after 20 us; missed
    EXPECT_EQ(loop.silence(20us), 0us);   // after 100 us
}

TEST(adaptive_spin, halves_with_each_miss_until_off_and_comes_back) {
    idle_loop loop;
    loop.silence(20us);
    for (const duration span : {50us + 0ns, 25us + 0ns, 12us + 500ns, 6us + 250ns}) {
        EXPECT_EQ(loop.silence(1ms), span);
        EXPECT_EQ(loop.silence(30us), 0us);  // after a long one; short itself
    }
    // 3.125 us is below the shortest span: off, but the last short sleep has switched it on again.
    EXPECT_EQ(loop.silence(30us), 50us);
}

TEST(adaptive_spin, a_hit_doubles_the_span_up_to_the_window) {
    idle_loop loop;
    loop.silence(20us);
    loop.silence(1ms);  // missed: 25 us
    loop.silence(10us);
    EXPECT_EQ(loop.silence(10us), 25us);
    EXPECT_EQ(loop.silence(10us), 50us);
    EXPECT_EQ(loop.silence(10us), 50us);
}

TEST(adaptive_spin, costs_next_to_nothing_when_traffic_is_sparse) {
    idle_loop loop;
    for (int i = 0; i < 1'000; ++i) loop.silence(1ms);
    EXPECT_EQ(loop.looked, 0us);
    for (int i = 0; i < 1'000; ++i) loop.silence(i % 10 == 0 ? 10us : 1ms);
    EXPECT_LT(loop.looked, 3ms);  // of 900 ms
}

TEST(adaptive_spin, needs_a_processor_to_spare) {
    idle_loop loop;
    loop.spin.set_room(2, 2);
    loop.silence(20us);
    EXPECT_EQ(loop.silence(20us), 0us);
    loop.spin.set_room(1, 2);
    EXPECT_EQ(loop.silence(20us), 50us);
    loop.spin.set_room(1, 1);
    EXPECT_EQ(loop.silence(20us), 0us);
    adaptive_spin untold;  // nobody has said how many processors there are
    untold.silence_ended(time_point{});
    EXPECT_EQ(untold.spin_for(time_point{}), 0us);
}

TEST(adaptive_spin, a_window_of_zero_is_off) {
    idle_loop loop(0us);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(loop.silence(0us), 0us);
}

TEST(adaptive_spin, rests_when_others_want_the_processor) {
    idle_loop loop;
    EXPECT_FALSE(loop.spin.wants_sample(loop.now)) << "it has not spun yet";
    loop.silence(20us);
    loop.silence(20us);
    ASSERT_TRUE(loop.spin.wants_sample(loop.now));
    loop.spin.sample(loop.now, 1'000);  // the first only begins the comparison
    EXPECT_EQ(loop.silence(20us), 50us);
    EXPECT_FALSE(loop.spin.wants_sample(loop.now)) << "asked too often";

    loop.now += adaptive_spin::sample_interval;
    ASSERT_TRUE(loop.spin.wants_sample(loop.now));
    loop.spin.sample(loop.now, 1'000 + adaptive_spin::tolerated_switches);
    EXPECT_EQ(loop.silence(20us), 50us);

    loop.now += adaptive_spin::sample_interval;
    const time_point preempted = loop.now;
    loop.spin.sample(loop.now, 1'000 + 2 * adaptive_spin::tolerated_switches + 1);
    EXPECT_EQ(loop.silence(20us), 0us);
    EXPECT_FALSE(loop.spin.wants_sample(loop.now + 10s)) << "nothing to learn without spinning";
    loop.now = preempted + adaptive_spin::rest - 1us;
    EXPECT_EQ(loop.silence(0us), 0us);
    EXPECT_EQ(loop.silence(20us), 50us);
}

/// A sample interval with so many finds, switches and looks of half a millisecond; returns whether
/// the loop would look after it.
bool looks_after(std::uint64_t finds, std::uint64_t switches, std::uint64_t long_looks) {
    idle_loop loop;
    loop.silence(20us);
    loop.silence(20us);
    loop.spin.sample(loop.now, 100);
    for (std::uint64_t i = 0; i < finds; ++i) loop.silence(20us);
    for (std::uint64_t i = 0; i < long_looks; ++i) {
        EXPECT_GT(loop.spin.spin_for(loop.now), 0us);
        loop.spin.looked(loop.now += 10us);
        loop.spin.looked(loop.now += adaptive_spin::long_look);
        loop.spin.silence_ended(loop.now);
        loop.silence(20us);  // so that it looks in the next silence
    }
    loop.spin.sample(loop.now, 100 + switches);
    return loop.silence(20us) > 0us;
}

TEST(adaptive_spin, tells_a_peer_that_it_has_just_woken_from_a_busy_machine) {
    EXPECT_TRUE(looks_after(800, 104, 0));
    EXPECT_FALSE(looks_after(800, 105, 0));
    EXPECT_TRUE(looks_after(0, 4, 0));
    EXPECT_FALSE(looks_after(0, 5, 0));
    EXPECT_TRUE(looks_after(800, 8, 4));
    EXPECT_FALSE(looks_after(800, 8, 5));
}

TEST(adaptive_spin, a_turn_that_took_long_is_no_long_look) {
    idle_loop loop;
    loop.silence(20us);
    loop.spin.sample(loop.now, 0);
    for (int i = 0; i < 10; ++i) {
        EXPECT_GT(loop.spin.spin_for(loop.now), 0us);
        loop.spin.looked(loop.now += 10 * adaptive_spin::long_look);
        loop.spin.silence_ended(loop.now);
        loop.silence(20us);
    }
    loop.spin.sample(loop.now, 0);
    EXPECT_GT(loop.silence(20us), 0us);
}

TEST(adaptive_spin, a_sample_after_a_pause_only_begins_the_next_comparison) {
    idle_loop loop;
    loop.silence(20us);
    loop.silence(20us);
    loop.spin.sample(loop.now, 0);
    for (int i = 0; i < 5; ++i) {
        EXPECT_GT(loop.spin.spin_for(loop.now), 0us);
        loop.spin.looked(loop.now += 10us);
        loop.spin.looked(loop.now += adaptive_spin::long_look);
        loop.spin.silence_ended(loop.now);
        loop.silence(20us);
    }
    loop.now += 1min;
    loop.spin.sample(loop.now, 100'000);
    EXPECT_EQ(loop.silence(20us), 50us);
    loop.now += adaptive_spin::sample_interval;
    loop.spin.sample(loop.now, 100'000);
    EXPECT_EQ(loop.silence(20us), 50us) << "what was before the pause counts no more";
}

}  // namespace
}  // namespace coro::detail
