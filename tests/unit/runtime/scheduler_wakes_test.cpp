// Posts of other threads: whom they wake, how often, and that the loop waits for who is inside.
#include <gtest/gtest.h>

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "runtime/scheduler.hpp"
#include "runtime/signals.hpp"
#include "support/alone.hpp"
#include "support/forwarding_poller.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

using namespace std::chrono_literals;

/// Sleeps and is woken as the test says; what it counts outlives it.
struct world_plan {
    std::function<void()> while_asleep;
    std::function<void()> in_wake;
    std::atomic<unsigned> wakes{0};
    std::atomic<bool> gone{false};
};
class planned_world final : public forwarding_poller {
public:
    explicit planned_world(world_plan& plan)
        : forwarding_poller(std::make_unique<lone_sim_poller>()), plan_(plan) {}
    ~planned_world() override { plan_.gone.store(true); }

    void wait(time_point deadline, operation_list&) noexcept override {
        if (deadline != time_point::min() && plan_.while_asleep) plan_.while_asleep();
    }
    void wake() noexcept override {
        world_plan& plan = plan_;  // this may go meanwhile, if the library is wrong
        plan.wakes.fetch_add(1);
        if (plan.in_wake) plan.in_wake();
    }

private:
    world_plan& plan_;
};

std::unique_ptr<scheduler> loop_of(world_plan& plan) {
    scheduler_options how;
    how.spin = false;
    return std::make_unique<scheduler>(std::make_unique<planned_world>(plan), how);
}

struct counted_post : posted {
    explicit counted_post(unsigned& of) : count(of) {
        run = [](posted& self) noexcept { ++static_cast<counted_post&>(self).count; };
    }
    unsigned& count;
};

void wait_for(const std::atomic<bool>& what) {
    while (!what.load()) std::this_thread::yield();
}

/// Whether `what` comes while somebody stays where he must be waited for. Long enough to see a
/// mistake; who is right is never hurried.
bool comes_meanwhile(const std::atomic<bool>& what) {
    const auto give_up = std::chrono::steady_clock::now() + 200ms;
    while (!what.load() && std::chrono::steady_clock::now() < give_up) std::this_thread::yield();
    return what.load();
}

TEST(scheduler_wakes, a_loop_that_turns_is_woken_by_nobody) {
    world_plan plan;
    const auto loop = loop_of(plan);
    unsigned ran = 0;
    for (int turn = 0; turn < 10; ++turn) {
        counted_post first(ran), second(ran);
        loop->post_here(first);
        loop->post_here(second);
        loop->turn(false);
    }
    EXPECT_EQ(ran, 20u);
    EXPECT_EQ(plan.wakes.load(), 0u) << "each is a system call";
}

TEST(scheduler_wakes, one_that_sleeps_is_woken_once_however_many_come) {
    world_plan plan;
    const auto loop = loop_of(plan);
    unsigned ran = 0;
    counted_post first(ran), second(ran), third(ran);
    plan.while_asleep = [&] {
        for (counted_post* each : {&first, &second, &third}) loop->post_here(*each);
    };
    for (unsigned round = 1; round <= 5; ++round) {
        loop->turn();
        EXPECT_EQ(plan.wakes.load(), round);
        loop->turn(false);
        EXPECT_EQ(ran, 3 * round);
    }
}

/// What it posted has run, so nothing keeps the loop alive any more; but it has not left yet.
TEST(scheduler_wakes, a_loop_that_ends_waits_for_the_thread_that_is_waking_it) {
    world_plan plan;
    auto loop = loop_of(plan);
    unsigned ran = 0;
    counted_post work(ran);
    std::atomic<bool> asleep{false}, inside{false}, gone_meanwhile{false};
    plan.while_asleep = [&] {
        asleep.store(true);
        wait_for(inside);
    };
    plan.in_wake = [&] {
        inside.store(true);
        gone_meanwhile.store(comes_meanwhile(plan.gone));
    };
    std::thread poster([&, to = loop.get()] {
        wait_for(asleep);
        to->post_here_foreign(work);
    });
    loop->turn();
    loop->turn(false);
    EXPECT_EQ(ran, 1u);
    loop.reset();
    poster.join();
    EXPECT_FALSE(gone_meanwhile.load()) << "the loop has gone while a thread was inside";
}

TEST(scheduler_wakes, the_end_of_a_run_waits_for_the_handler_that_is_waking_it) {
    world_plan plan;
    auto world = std::make_unique<planned_world>(plan);
    std::atomic<bool> inside{false}, gone_meanwhile{false};
    plan.in_wake = [&] {
        inside.store(true);
        gone_meanwhile.store(comes_meanwhile(plan.gone));
    };
    auto guard = std::make_unique<signal_guard>(true, *world);
    ASSERT_TRUE(guard->installed());
    std::thread signalled([] { ::pthread_kill(::pthread_self(), SIGTERM); });
    wait_for(inside);
    guard.reset();
    world.reset();  // what the run does next
    signalled.join();
    EXPECT_FALSE(gone_meanwhile.load()) << "the poller has gone while a handler used it";
}

}  // namespace
}}}  // namespace coro::v0::detail
