// timer_queue against an oracle: a std::set of (deadline, sequence) that does everything slowly.
#include "runtime/timer_queue.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace coro::detail {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();
constexpr time_point at(duration since_zero) { return time_point(since_zero); }

/// A timer that calls a function; the function may do anything to any timer.
struct test_timer : timer_node {
    explicit test_timer(std::function<void(test_timer&)> what = {})
        : timer_node(&call), on_call(std::move(what)) {}
    static void call(timer_node& node) noexcept {
        auto& self = static_cast<test_timer&>(node);
        ++self.fired;
        const auto what = self.on_call;  // a copy: the timer may be destroyed in the call
        if (what) what(self);
    }
    std::function<void(test_timer&)> on_call;
    int fired = 0;
};

/// The first tick that is not before `deadline`, on the grid that begins at `origin`.
time_point rounded_up(time_point deadline, time_point origin) {
    __extension__ typedef __int128 wide;
    const wide tick = timer_queue::tick.count();
    const wide from = origin.time_since_epoch().count();
    const wide span = wide{deadline.time_since_epoch().count()} - from;
    const wide up = from + (span + tick - 1) / tick * tick;
    const wide last = never.time_since_epoch().count();
    return time_point(duration(static_cast<std::int64_t>(span < 0 ? last : std::min(up, last))));
}

/// A timer_queue and its oracle, checked against each other at every step.
class world {
public:
    world(time_point start, std::uint64_t seed, std::size_t timers)
        : start_(start), now_(start), random_(seed), queue_(start), timers_(timers) {
        for (std::size_t i = 0; i < timers; ++i) {
            timers_[i] = std::make_unique<test_timer>([this, i](test_timer&) { fired(i); });
        }
        sequence_.resize(timers);
    }
    ~world() {
        for (auto& timer : timers_) queue_.disarm(*timer);
    }

    void step() {
        switch (below(8)) {
            case 0:
            case 1:
            case 2: change(any()); break;
            case 3: disarm(any()); break;
            case 4: extend(any()); break;
            case 5: expire_at(saturating_add(now_, some_span())); break;
            default:  // far jumps seldom, or the end of time would come soon
                if (queue_.next_deadline() > saturating_add(now_, 1h) && below(16) != 0) {
                    change(any());
                } else {
                    expire_at(std::max(now_, queue_.next_deadline()));
                }
                break;
        }
        check();
    }
    /// Until the end of time, or for so many steps.
    void run(int steps) {
        for (int i = 0; i < steps && now_ < never - 1h && !testing::Test::HasFailure(); ++i) step();
    }
    std::uint64_t fired_in_all() const { return fired_; }

private:
    using key = std::pair<time_point, std::uint64_t>;

    std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
    std::size_t any() { return below(timers_.size()); }

    duration some_span() {
        const auto number = [this](std::uint64_t limit) {
            return static_cast<std::int64_t>(below(limit));
        };
        switch (below(11)) {
            case 0: return 0ns;
            case 1: return duration(number(1000));
            case 2:
            case 3: return duration(number(10'000'000));
            case 4: return number(30) * timer_queue::tick;
            case 5: return duration(number(40'000'000));
            case 6:
            case 7: return duration(number(2'000'000'000));
            case 8: return number(7200) * 1s + duration(number(1'000'000'000));
            case 9: return number(1'000'000) * 1min;
            default: return below(64) != 0 ? duration(number(100'000'000)) : duration::max();
        }
    }
    time_point some_deadline() {
        switch (below(40)) {
            case 0: return never;
            case 1: return never - duration(static_cast<std::int64_t>(below(3'000'000)));
            case 2: return time_point::min();
            case 3: return start_;
            default: return saturating_add(now_, some_span());
        }
    }

    void change(std::size_t i) {
        disarm(i);
        arm(i, some_deadline());
    }
    void arm(std::size_t i, time_point deadline) {
        sequence_[i] = ++armed_;
        queue_.arm(*timers_[i], deadline);
        oracle_.insert({deadline, sequence_[i]});
    }
    void disarm(std::size_t i) {
        if (timers_[i]->armed()) oracle_.erase({timers_[i]->deadline(), sequence_[i]});
        queue_.disarm(*timers_[i]);
        EXPECT_FALSE(timers_[i]->armed());
    }
    void extend(std::size_t i) {
        if (!timers_[i]->armed()) return;
        oracle_.erase({timers_[i]->deadline(), sequence_[i]});
        const time_point later = saturating_add(timers_[i]->deadline(), some_span());
        timer_queue::extend(*timers_[i], later);
        oracle_.insert({later, sequence_[i]});
    }

    void fired(std::size_t i) {
        ++fired_;
        const key first = *oracle_.begin();
        const key fired_key{timers_[i]->deadline(), sequence_[i]};
        EXPECT_TRUE(fired_key == first) << "out of order: fired "
            << fired_key.first.time_since_epoch().count() << " #" << fired_key.second
            << " before " << first.first.time_since_epoch().count() << " #" << first.second;
        EXPECT_LE(fired_key.first, now_) << "early";
        oracle_.erase(fired_key);
        switch (below(6)) {  // everything is allowed inside on_fire
            case 0: arm(i, some_deadline()); break;
            case 1: change(any()); break;
            case 2: disarm(any()); break;
            case 3: extend(any()); break;
            default: break;
        }
    }

    void expire_at(time_point now) {
        now_ = now;
        const std::size_t limit = below(3) == 0 ? 1 + below(5) : unlimited;
        const std::uint64_t before = fired_;
        const std::size_t answer = queue_.expire(now, limit);
        EXPECT_EQ(answer, fired_ - before);
        EXPECT_LE(answer, limit);
        if (limit != unlimited) return;
        if (now == never) return;  // no later time can be told from it
        EXPECT_GT(rounded_up_first(), now) << "a timer is more than a tick late";
        EXPECT_GT(queue_.next_deadline(), now) << "something is left to do";
    }
    time_point rounded_up_first() const {
        if (oracle_.empty()) return never;
        const time_point first = oracle_.begin()->first;
        return first < start_ ? first : rounded_up(first, start_);
    }

    void check() {
        EXPECT_EQ(queue_.size(), oracle_.size());
        EXPECT_LE(queue_.next_deadline(), std::max(rounded_up_first(), now_)) << "wakes too late";
    }

    time_point start_;
    time_point now_;
    std::mt19937_64 random_;
    timer_queue queue_;
    std::vector<std::unique_ptr<test_timer>> timers_;
    std::vector<std::uint64_t> sequence_;
    std::set<key> oracle_;
    std::uint64_t armed_ = 0;
    std::uint64_t fired_ = 0;
};

/// Follows next_deadline() until nothing is armed; returns the number of wake-ups.
int follow(timer_queue& queue, time_point& now) {
    int wakes = 0;
    while (queue.size() != 0 && wakes < 1000) {
        const time_point next = queue.next_deadline();
        now = std::max(now, next);
        queue.expire(now, unlimited);
        ++wakes;
    }
    return wakes;
}

TEST(timer_queue, does_what_the_oracle_does) {
    std::uint64_t fired = 0;
    for (std::uint64_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        const auto timers = static_cast<std::size_t>(1 + seed % 40);
        const auto starts = std::array{0ns, 1ns, 123'456'789'012ns, -5s + 0ns, duration::min(),
                                       duration::max() - 24h};
        world one(at(starts[seed % starts.size()]), seed, timers);
        one.run(500);
        fired += one.fired_in_all();
    }
    EXPECT_GT(fired, 10'000u);
}

TEST(timer_queue, is_silent_when_nothing_can_come) {
    timer_queue queue(at(7s));
    EXPECT_EQ(queue.next_deadline(), never);
    EXPECT_EQ(queue.expire(at(8s), unlimited), 0u);
    test_timer timer;
    queue.arm(timer, never);
    EXPECT_EQ(queue.size(), 1u);
    EXPECT_EQ(queue.next_deadline(), never);
    EXPECT_EQ(queue.expire(never, unlimited), 0u);
    EXPECT_TRUE(timer.armed());
    queue.disarm(timer);
    queue.disarm(timer);  // allowed
    EXPECT_EQ(queue.size(), 0u);
}

TEST(timer_queue, keeps_near_deadlines_to_the_nanosecond) {
    timer_queue queue(at(1s));
    test_timer timer;
    queue.arm(timer, at(1s + 9'999'999ns));
    EXPECT_EQ(queue.next_deadline(), at(1s + 9'999'999ns));
    EXPECT_EQ(queue.expire(at(1s + 9'999'998ns), unlimited), 0u);
    EXPECT_EQ(queue.expire(at(1s + 9'999'999ns), unlimited), 1u);
}

TEST(timer_queue, rounds_far_deadlines_up_to_the_tick) {
    timer_queue queue(at(0s));
    test_timer sharp;
    test_timer blunt;
    queue.arm(sharp, at(20ms));
    queue.arm(blunt, at(20ms + 1ns));
    EXPECT_EQ(queue.next_deadline(), at(20ms));
    EXPECT_EQ(queue.expire(at(20ms - 1ns), unlimited), 0u);
    EXPECT_EQ(queue.expire(at(20ms), unlimited), 1u);
    EXPECT_EQ(sharp.fired, 1);
    EXPECT_EQ(queue.next_deadline(), at(21ms));
    EXPECT_EQ(queue.expire(at(21ms), unlimited), 1u);
}

TEST(timer_queue, keeps_the_order_of_one_tick_across_wheel_and_heap) {
    timer_queue queue(at(0s));
    std::vector<int> order;
    test_timer wheel_late([&](test_timer&) { order.push_back(4); });
    test_timer wheel_early([&](test_timer&) { order.push_back(1); });
    queue.arm(wheel_late, at(100ms + 900us));
    queue.arm(wheel_early, at(100ms + 300us));
    queue.expire(at(95ms), unlimited);
    test_timer heap_last([&](test_timer&) { order.push_back(5); });
    test_timer heap_middle([&](test_timer&) { order.push_back(2); });
    test_timer heap_same([&](test_timer&) { order.push_back(3); });
    queue.arm(heap_last, at(100ms + 900us));
    queue.arm(heap_middle, at(100ms + 500us));
    queue.arm(heap_same, at(100ms + 500us));
    // Awake in the middle of the tick: what is due goes in order, though it comes from two places.
    queue.expire(at(100ms + 600us), unlimited);
    EXPECT_EQ(order, (std::vector{1, 2, 3}));
    queue.expire(at(101ms), unlimited);
    EXPECT_EQ(order, (std::vector{1, 2, 3, 4, 5}));
}

TEST(timer_queue, wakes_at_most_four_times_for_a_timer_one_hour_away) {
    std::mt19937_64 random(1);
    int most = 0;
    for (int i = 0; i < 2'000; ++i) {
        // Any phase, and just before a carry into each of the upper levels.
        auto phase = static_cast<std::int64_t>(random() >> 20) * 1us;
        if (i % 2 == 0) phase = ((std::int64_t{1} << (8 * (1 + i % 5))) - 1 - i % 7) * 1ms;
        const time_point origin = at(3s);
        time_point now = origin + phase;
        timer_queue queue(origin);
        queue.expire(now, unlimited);
        test_timer timer;
        const time_point deadline = now + 1h + duration(static_cast<std::int64_t>(random() % 1000));
        queue.arm(timer, deadline);
        const int wakes = follow(queue, now);
        EXPECT_GE(now, deadline);
        EXPECT_LT(now, deadline + timer_queue::tick);
        most = std::max(most, wakes);
    }
    EXPECT_LE(most, 4);
    EXPECT_GE(most, 2) << "the wheel should have cascaded at all";
}

TEST(timer_queue, fires_a_million_of_one_instant_in_bounded_calls) {
    constexpr std::size_t timers = 1'000'000;
    constexpr std::size_t limit = 1'000;
    struct numbered : timer_node {
        numbered() : timer_node(&fire) {}
        static void fire(timer_node& node) noexcept {
            auto& self = static_cast<numbered&>(node);
            if (self.number != *self.next) *self.ordered = false;
            ++*self.next;
        }
        std::size_t number = 0;
        std::size_t* next = nullptr;
        bool* ordered = nullptr;
    };
    std::size_t next = 0;
    bool ordered = true;
    timer_queue queue(at(0s));
    std::vector<numbered> all(timers);
    for (std::size_t i = 0; i < timers; ++i) {
        all[i].number = i;
        all[i].next = &next;
        all[i].ordered = &ordered;
        queue.arm(all[i], at(1min));  // level 1: they are cascaded, too
    }
    std::size_t calls = 0;
    while (queue.size() != 0 && calls < timers) {
        ASSERT_LE(queue.next_deadline(), at(1min));
        const std::size_t fired = queue.expire(at(1min), limit);
        ASSERT_LE(fired, limit);
        ++calls;
    }
    EXPECT_TRUE(ordered);
    EXPECT_EQ(next, timers);
    EXPECT_LE(calls, 3 * timers / limit + 2);  // cascaded, filed, fired: three steps each at most
}

/// A step fires, files or cascades one timer. A slot of a higher level that comes up holds as many
/// timers as the program likes, and the loop must not stand still for all of them.
TEST(timer_queue, filing_the_timers_of_a_slot_that_came_up_counts_as_firing_does) {
    constexpr std::size_t count = 10'000;
    constexpr std::size_t limit = 100;
    timer_queue queue(at(0ns));
    std::vector<test_timer> timers(count);
    for (test_timer& timer : timers) queue.arm(timer, at(300ms));  // a slot of the second level
    ASSERT_EQ(queue.next_deadline(), at(256ms)) << "when that slot comes up";
    std::size_t calls = 0;
    while (queue.next_deadline() <= at(256ms)) {
        EXPECT_EQ(queue.expire(at(256ms), limit), 0u) << "none is due";
        ++calls;
    }
    EXPECT_GE(calls, count / limit);
    EXPECT_LE(calls, count / limit + 2);
    std::size_t fired = 0;
    for (calls = 0; fired < count && calls < 1000; ++calls) fired += queue.expire(at(301ms), limit);
    EXPECT_EQ(fired, count);
    EXPECT_GE(calls, 2 * count / limit - 2) << "filed into the precise queue, and fired: two steps";
}

/// Otherwise a near timer would stand on a high level, as seen from where the queue was when it had
/// something to do; each would cost a cascade more.
TEST(timer_queue, one_that_has_nothing_to_do_follows_the_time) {
    timer_queue queue(at(0ns));
    test_timer timer;
    for (const duration present : {duration(1s), duration(1h), duration(24h * 365)}) {
        // In a block of 256 ticks, so that nothing has to come up before it.
        const duration block = present / (256 * timer_queue::tick) * (256 * timer_queue::tick);
        EXPECT_EQ(queue.expire(at(block), unlimited), 0u);
        queue.arm(timer, at(block + 200ms));
        EXPECT_EQ(queue.next_deadline(), at(block + 200ms)) << "no wake-up before its own";
        queue.disarm(timer);
    }
}

TEST(timer_queue, a_timer_may_do_anything_when_it_fires) {
    timer_queue queue(at(0s));
    test_timer other;
    queue.arm(other, at(5ms));
    test_timer again([&](test_timer& self) {
        if (self.fired < 3) queue.arm(self, self.deadline() + 30ms);
    });
    queue.arm(again, at(30ms));
    auto doomed = std::make_unique<test_timer>();
    doomed->on_call = [&](test_timer&) {
        queue.disarm(other);
        doomed.reset();  // while it fires
    };
    queue.arm(*doomed, at(1ms));
    EXPECT_EQ(queue.expire(at(25ms), unlimited), 1u);
    EXPECT_EQ(other.fired, 0);
    EXPECT_EQ(queue.expire(at(1s), unlimited), 3u);
    EXPECT_EQ(queue.size(), 0u);
}

TEST(timer_queue, a_timer_that_rearms_itself_in_the_past_is_held_by_the_limit) {
    timer_queue queue(at(0s));
    test_timer timer([&](test_timer& self) { queue.arm(self, at(0s)); });
    queue.arm(timer, at(0s));
    EXPECT_EQ(queue.expire(at(1s), 100), 100u);
    queue.disarm(timer);
}

TEST(timer_queue, extending_moves_the_deadline_and_costs_few_wake_ups) {
    timer_queue queue(at(0s));
    test_timer timer;
    queue.arm(timer, at(30s));
    time_point now = at(0s);
    int wakes = 0;
    for (int i = 1; i <= 100'000; ++i) {  // one message each millisecond, idle limit 30 s
        const time_point message = at(i * 1ms);
        while (queue.next_deadline() < message) {
            now = queue.next_deadline();
            EXPECT_EQ(queue.expire(now, unlimited), 0u);
            ++wakes;
        }
        now = message;
        timer_queue::extend(timer, now + 30s);
    }
    EXPECT_LE(wakes, 100'000 / 30'000 * 3 + 3);
    follow(queue, now);
    EXPECT_EQ(timer.fired, 1);
    EXPECT_EQ(now, at(130s));
}

TEST(timer_queue, a_near_timer_that_was_extended_fires_at_its_new_deadline_only) {
    timer_queue queue(at(0ns));
    test_timer first, second;
    queue.arm(first, at(5ms));
    queue.arm(second, at(6ms));
    timer_queue::extend(first, at(8ms));
    EXPECT_EQ(queue.expire(at(5ms), unlimited), 0u);
    EXPECT_EQ(queue.expire(at(6ms), unlimited), 1u);
    EXPECT_EQ(first.fired, 0);
    EXPECT_EQ(second.fired, 1);
    EXPECT_EQ(queue.next_deadline(), at(8ms));
    EXPECT_EQ(queue.expire(at(8ms), unlimited), 1u);
    EXPECT_EQ(first.fired, 1);
}

TEST(timer_queue, knows_the_edges_of_time) {
    for (const duration start : {duration::min(), -1ns, 0ns, duration(1'000'000'007)}) {
        timer_queue queue(at(start));
        test_timer past;
        test_timer last;
        test_timer first;
        queue.arm(past, time_point::min());
        queue.arm(last, never - 1ns);
        queue.arm(first, saturating_add(at(start), 11ms));
        EXPECT_EQ(queue.expire(at(start), unlimited), 1u);
        EXPECT_EQ(past.fired, 1);
        time_point now = at(start);
        EXPECT_LE(follow(queue, now), 9);
        EXPECT_EQ(last.fired, 1);
        EXPECT_EQ(now, never);
    }
}

TEST(timer_queue, an_extension_to_never_at_the_end_of_time_never_fires) {
    timer_queue queue(never - (100ms + 500us));  // the last tick is only half a tick
    test_timer timer;
    queue.arm(timer, never - 1ns);
    timer_queue::extend(timer, never);
    EXPECT_EQ(queue.expire(never, unlimited), 0u);
    EXPECT_TRUE(timer.armed());
    queue.disarm(timer);
}

TEST(timer_queue, keeps_the_paths_in_its_heap_short) {
    timer_queue queue(at(0s));
    std::mt19937_64 random(1);
    std::vector<test_timer> timers(1'000);
    test_timer run_head;  // keeps what follows out of the sorted run
    queue.arm(run_head, at(9'999'999ns));
    const auto short_enough = [&queue] {
        return queue.heap_path() <= static_cast<unsigned>(std::bit_width(queue.size()));
    };
    for (int order = 0; order < 3; ++order) {
        for (std::size_t i = 0; i < timers.size(); ++i) {
            const auto nanoseconds = static_cast<std::int64_t>(
                order == 0 ? i : order == 1 ? timers.size() - i : random() % 1'000'000);
            queue.arm(timers[i], at(duration(nanoseconds)));
            ASSERT_TRUE(short_enough());
        }
        EXPECT_GT(queue.heap_path(), 0u);
        for (std::size_t left = timers.size(); left > 0;) {
            test_timer& any = timers[random() % timers.size()];
            if (any.armed()) --left;
            queue.disarm(any);
            ASSERT_TRUE(short_enough());
        }
    }
    queue.disarm(run_head);
}

TEST(timer_queue_death, says_what_was_misused) {
    timer_queue queue(at(0s));
    test_timer timer;
    queue.arm(timer, at(1s));
    EXPECT_DEATH(queue.arm(timer, at(2s)), "armed while it was armed");
    EXPECT_DEATH(timer_queue::extend(timer, at(1ms)), "extend\\(\\)");
    EXPECT_DEATH(
        {
            test_timer gone;
            queue.arm(gone, at(1s));
        },
        "destroyed while it was armed");
    test_timer nested([&](test_timer&) { queue.expire(at(3s), 1); });
    queue.arm(nested, at(2ms));
    EXPECT_DEATH(queue.expire(at(2ms), 1), "called from on_fire");
    queue.disarm(nested);
    queue.disarm(timer);
}

}  // namespace
}  // namespace coro::detail
