// Fibers on several loops: each stays on the loop on which it began, whoever wakes it.
#include <atomic>
#include <functional>
#include <thread>

#include <coro/runtime/event.hpp>
#include <coro/runtime/loop_handle.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class fiber_loops_test : public world_test {
protected:
    template <typename Body>
    void in_loops(unsigned loops, Body& body) {
        run_options options = options_for(GetParam());
        options.loops = loops;
        run(fiber(std::ref(body)), options);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, fiber_loops_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(fiber_loops_test, a_fiber_stays_on_its_loop_and_thread) {
    std::atomic<int> rounds{0};
    const auto body = [&] {
        local_task_group group;
        for (unsigned loop = 0; loop < 3; ++loop)
            group.spawn_fiber({.name = "stays", .loop = loop}, [&rounds, loop] {
                const std::thread::id mine = std::this_thread::get_id();
                for (int i = 0; i < 20; ++i) {
                    if (i % 5 == 0) await(sleep_for(1ms));
                    else await(fiber([] { await(yield()); }));
                    EXPECT_EQ(loop_index(), loop);
                    EXPECT_EQ(std::this_thread::get_id(), mine);
                    ++rounds;
                }
            });
        group.join();
    };
    in_loops(3, body);
    EXPECT_EQ(rounds.load(), 60);
}

TEST_P(fiber_loops_test, one_that_waits_on_another_loop_is_cancelled_with_its_group) {
    std::atomic<int> cancelled_there{0};
    const auto body = [&] {
        local_task_group group;
        group.spawn_fiber({.loop = 1}, [&] {
            try {
                await(sleep_for(1h));
            } catch (const cancelled&) {
                ++cancelled_there;
                throw;
            }
        });
        await(sleep_for(5ms));
    };  // the destructor of the group cancels and waits, across loops
    in_loops(2, body);
    EXPECT_EQ(cancelled_there.load(), 1);
}

TEST_P(fiber_loops_test, an_error_comes_home) {
    const auto body = [] {
        local_task_group group;
        group.spawn_fiber({.loop = 1}, [] {
            await(yield());
            throw std::runtime_error("from the other loop");
        });
        EXPECT_THROW(group.join(), std::runtime_error);
    };
    in_loops(2, body);
}

TEST_P(fiber_loops_test, an_event_of_another_loop_wakes_it_at_home) {
    std::atomic<bool> woken{false};
    const auto body = [&] {
        event gate;
        EXPECT_FALSE(await(move_on_after(1ms, gate.wait())));  // it belongs to this loop now
        local_task_group group;
        group.spawn_fiber({.loop = 1}, [&] {
            await(gate.wait());
            EXPECT_EQ(loop_index(), 1u);
            woken = true;
        });
        await(sleep_for(5ms));
        gate.set();
        group.join();
    };
    in_loops(2, body);
    EXPECT_TRUE(woken.load());
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
