// The loop that looks before it sleeps, in a world whose clock moves with every look.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>

#include "runtime/scheduler.hpp"
#include "support/alone.hpp"
#include "support/forwarding_poller.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

using namespace std::chrono_literals;

/// Each look that does not wait takes 10 us, or `later_looks`; a wake() comes before the
/// `wake_at`th of them.
class looking_world final : public forwarding_poller {
public:
    looking_world() : forwarding_poller(std::make_unique<lone_sim_poller>()) {}

    void wait(time_point deadline, operation_list& completed) noexcept override {
        if (deadline == time_point::min()) {
            ++looks;
            if (looks == complete_at) completed.push(*completes);
            if (looks == wake_at) {
                signalled = true;
                wake();
            }
            forwarding_poller::wait(now() + (++looks_on_end > 1 ? later_looks : 10us), completed);
        } else {
            slept_signalled = slept_signalled || (signalled && !heeded);
            slept_until = deadline;
            looks_on_end = 0;
            forwarding_poller::wait(deadline, completed);
        }
    }

    unsigned looks = 0;
    unsigned looks_on_end = 0;     ///< without a sleep
    duration later_looks = 10us;   ///< each but the first of these takes
    unsigned wake_at = 0;
    unsigned complete_at = 0;  ///< the look that finds `completes`
    operation* completes = nullptr;
    time_point slept_until{};
    bool signalled = false;        ///< what a signal handler sets before it calls wake()
    bool heeded = false;           ///< the turn hook has seen it
    bool slept_signalled = false;  ///< the loop went to sleep in between
};

class scheduler_spin : public testing::Test {
protected:
    scheduler_spin() {
        auto world = std::make_unique<looking_world>();
        world_ = world.get();
        scheduler_options how;
        how.loops = 0;  // always fewer than processors
        loop_ = std::make_unique<scheduler>(std::move(world), how);
        loop_->set_turn_hook(
            [](void* self) noexcept {
                auto& seen = *static_cast<looking_world*>(self);
                seen.heeded = seen.heeded || seen.signalled;
            },
            world_);
    }

    /// A turn whose silence ends after `span`.
    void turn_until(duration span) {
        timer_node timer([](timer_node&) noexcept {});
        loop_->arm_timer(timer, loop_->read_clock() + span);
        loop_->turn();
        loop_->disarm_timer(timer);
    }

    std::unique_ptr<scheduler> loop_;
    looking_world* world_ = nullptr;
};

TEST_F(scheduler_spin, looks_after_a_short_silence_and_sleeps_after_a_long_one) {
    turn_until(20us);
    EXPECT_EQ(world_->looks, 0u);
    turn_until(1s);
    EXPECT_GT(world_->looks, 0u);
    const unsigned before = world_->looks;
    turn_until(1s);
    EXPECT_EQ(world_->looks, before);
}

/// Nothing is said of looks that took less: on a busy machine this thread is preempted, and then
/// the loop rests as well.
TEST_F(scheduler_spin, rests_after_looks_that_took_long) {
    world_->later_looks = adaptive_spin::long_look;
    for (int i = 0; i < 7; ++i) {  // the first sample, and one after more than 100 ms
        turn_until(20us);
        turn_until(20ms);
    }
    EXPECT_GE(world_->looks, 2u) << "it has never looked";
    turn_until(20us);
    const unsigned before = world_->looks;
    turn_until(20ms);
    EXPECT_EQ(world_->looks, before);
}

/// Its completion sets a timer and makes nobody ready: accept(2) without descriptors does so.
struct pausing_operation : operation {
    explicit pausing_operation(detail::loop& of) : operation(opcode::accept), loop(of) {
        advance = [](operation& self) noexcept {
            auto& mine = static_cast<pausing_operation&>(self);
            mine.loop.arm_timer(mine.timer, mine.loop.read_clock() + 500us);
            return false;
        };
    }
    detail::loop& loop;
    timer_node timer{[](timer_node&) noexcept {}};
};

TEST_F(scheduler_spin, does_not_sleep_over_a_timer_that_was_set_while_it_looked) {
    turn_until(20us);
    pausing_operation pausing(*loop_);
    world_->completes = &pausing;
    world_->complete_at = world_->looks + 2;
    const time_point before = world_->now();
    turn_until(1s);
    ASSERT_GE(world_->looks, world_->complete_at) << "it did not look";
    EXPECT_LE(world_->slept_until, before + 1ms);
    loop_->disarm_timer(pausing.timer);
}

TEST_F(scheduler_spin, does_not_sleep_over_a_wake_up_that_a_look_has_met) {
    turn_until(20us);
    world_->wake_at = world_->looks + 2;
    turn_until(1s);
    ASSERT_TRUE(world_->signalled) << "it did not look";
    EXPECT_FALSE(world_->slept_signalled);
    turn_until(1s);
    EXPECT_TRUE(world_->heeded);
}

}  // namespace
}}}  // namespace coro::v0::detail
