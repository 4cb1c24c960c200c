// Stacks of fibers: sized, guarded, used again, given back to the system while idle, bounded.
#include "core/stack_pool.hpp"

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include <coro/base/error.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::detail::fiber_stack;
using coro::detail::stack_pool;

constexpr std::size_t kib = 1024;
constexpr std::size_t page = 4096;

class stack_pool_test : public core_test {};

TEST_F(stack_pool_test, sizes_are_powers_of_two_from_sixteen_kib) {
    stack_pool pool;
    for (const auto& [asked, given] : {std::pair{0 * kib, 16 * kib}, {16 * kib, 16 * kib},
                                       {16 * kib + 1, 32 * kib}, {64 * kib, 64 * kib},
                                       {1000 * kib, 1024 * kib}}) {
        fiber_stack& stack = pool.take(asked);
        EXPECT_EQ(stack.size, given);
        EXPECT_GT(stack.usable(), given - 2 * kib);
        std::memset(stack.bottom, 1, stack.usable());
        pool.give(stack);
    }
}

TEST_F(stack_pool_test, the_last_one_given_back_is_the_next) {
    stack_pool pool;
    fiber_stack& first = pool.take(64 * kib);
    fiber_stack& second = pool.take(64 * kib);
    EXPECT_NE(&first, &second);
    pool.give(first);
    pool.give(second);
    EXPECT_EQ(&pool.take(64 * kib), &second);
    EXPECT_EQ(&pool.take(64 * kib), &first);
    EXPECT_EQ(pool.stacks_open(), 2u);
    pool.give(first);
    pool.give(second);
}

TEST_F(stack_pool_test, stacks_do_not_overlap_and_have_a_guard_between_them) {
    stack_pool pool;
    std::vector<fiber_stack*> taken;
    std::set<std::byte*> bottoms;
    for (int i = 0; i < 100; ++i) {
        taken.push_back(&pool.take(16 * kib));
        bottoms.insert(taken.back()->bottom);
    }
    ASSERT_EQ(bottoms.size(), 100u);
    const std::byte* before = nullptr;
    for (const std::byte* const bottom : bottoms) {
        EXPECT_TRUE(before == nullptr || bottom >= before + 16 * kib + stack_pool::guard_bytes);
        before = bottom;
    }
    for (fiber_stack* const stack : taken) pool.give(*stack);
}

TEST_F(stack_pool_test, stacks_begin_at_many_places_of_a_page_so_that_they_share_no_cache_sets) {
    stack_pool pool;
    std::vector<fiber_stack*> taken;
    std::map<std::size_t, int> places;
    for (int i = 0; i < 1000; ++i) {
        taken.push_back(&pool.take(64 * kib));
        const fiber_stack& stack = *taken.back();
        EXPECT_EQ(stack.bottom + stack.usable(), stack.top());
        const auto below_end = static_cast<std::size_t>(stack.bottom + stack.size - stack.top());
        EXPECT_LT(below_end, page / 2);  // a shallow stack fits into the rest of its page
        EXPECT_EQ(below_end % 64, 0u);
        ++places[below_end];
    }
    EXPECT_EQ(places.size(), 32u);
    for (const auto& [place, count] : places) EXPECT_LE(count, 1000 / 32 + 16) << place;
    for (fiber_stack* stack : taken) pool.give(*stack);
}

TEST_F(stack_pool_test, idle_stacks_beyond_the_warm_ones_give_their_pages_back) {
    stack_pool pool;
    std::vector<fiber_stack*> taken;
    for (int i = 0; i < 400; ++i) {
        taken.push_back(&pool.take(64 * kib));
        std::memset(taken.back()->bottom, 1, 64 * kib);
    }
    EXPECT_EQ(pool.resident_bytes(), 400 * 64 * kib);
    for (fiber_stack* const stack : taken) pool.give(*stack);
    EXPECT_EQ(pool.resident_bytes(), stack_pool::warm_bytes);
    EXPECT_EQ(pool.stacks_open(), 400u);
}

/// A context lies on its stack. One that is kept while the pages go is a jump to nowhere.
TEST_F(stack_pool_test, a_stack_that_gives_its_pages_back_forgets_its_context) {
    stack_pool pool;
    std::vector<fiber_stack*> taken;
    for (int i = 0; i < 400; ++i) {
        taken.push_back(&pool.take(64 * kib));
        taken.back()->context = taken.back()->top();
    }
    for (fiber_stack* const stack : taken) pool.give(*stack);
    std::size_t kept = 0;
    for (fiber_stack*& stack : taken) {
        stack = &pool.take(64 * kib);
        kept += stack->context != nullptr ? 1 : 0;
    }
    EXPECT_EQ(kept, stack_pool::warm_bytes / (64 * kib));
    for (fiber_stack* const stack : taken) {
        stack->context = nullptr;
        pool.give(*stack);
    }
}

TEST_F(stack_pool_test, fibers_beyond_the_warm_stacks_run_again_and_again) {
    std::size_t ended = 0;
    simulate([](std::size_t& out) -> coro::task<> {
        for (int round = 0; round < 3; ++round) {
            const auto body = [&](coro::task_group& group) -> coro::task<> {
                for (int i = 0; i < 300; ++i)
                    group.spawn([](std::size_t& count) -> coro::task<> {
                        co_await coro::fiber([](std::size_t& in) {
                            coro::await(coro::sleep_for(1ms));
                            ++in;
                        }, std::ref(count));
                    }, std::ref(out));
                co_return;
            };
            co_await coro::with_task_group(body);
        }
    }(ended));
    EXPECT_EQ(ended, 900u);
}

TEST_F(stack_pool_test, beyond_its_bound_it_says_what_to_do) {
    stack_pool pool(20);
    std::vector<fiber_stack*> taken;
    for (int i = 0; i < 20; ++i) taken.push_back(&pool.take(16 * kib));
    for (int i = 0; i < 2; ++i) {
        try {
            pool.take(16 * kib);
            ADD_FAILURE() << "a stack beyond the bound";
        } catch (const coro::io_error& error) {
            EXPECT_EQ(error.code(), std::errc::not_enough_memory);
            EXPECT_NE(std::string(error.what())
                          .find("fiber stack of 16 KiB, 20 are mapped (see sysctl "
                                "vm.max_map_count)"),
                      std::string::npos)
                << error.what();
        }
    }
    pool.give(*taken.back());
    EXPECT_EQ(&pool.take(16 * kib), taken.back());
    for (fiber_stack* const stack : taken) pool.give(*stack);
}

TEST_F(stack_pool_test, the_bound_leaves_mappings_for_the_rest_of_the_process) {
    // A stack and its guard are two mappings, and the default of the kernel is 65 530.
    EXPECT_GT(stack_pool::stacks_allowed(), 0u);
    stack_pool small;
    EXPECT_EQ(small.resident_bytes(), 0u);
}

#if !CORO_TEST_SANITIZED
TEST_F(stack_pool_test, fibers_end_with_an_error_when_the_kernel_maps_no_more) {
    if (stack_pool::stacks_allowed() > 200'000)
        GTEST_SKIP() << "vm.max_map_count is set to more than we try";
    const std::size_t allowed = stack_pool::stacks_allowed();
    std::size_t refused = 0;
    simulate([](std::size_t count, std::size_t& out) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            coro::event gate;
            for (std::size_t i = 0; i < count + 5; ++i)
                group.spawn([](coro::event& open, std::size_t& failed) -> coro::task<> {
                    try {
                        co_await coro::fiber({.stack_bytes = 16 * kib},
                                             [](coro::event& e) { coro::await(e.wait()); },
                                             std::ref(open));
                    } catch (const coro::io_error& error) {
                        EXPECT_EQ(error.code(), std::errc::not_enough_memory);
                        ++failed;
                    }
                }, std::ref(gate), std::ref(out));
            co_await coro::sleep_for(1ms);
            gate.set();
            while (group.size() != 0) co_await coro::yield();
        };
        co_await coro::with_task_group(body);
    }(allowed, refused));
    EXPECT_EQ(refused, 5u);
}
#endif

TEST_F(stack_pool_test, a_thousand_blocked_fibers_cost_the_pages_that_they_touch) {
    constexpr std::size_t count = 1000;
    std::size_t resident = 0;
    std::size_t idle = 0;
    std::size_t open = 0;
    simulate([](std::size_t& blocked, std::size_t& ended, std::size_t& stacks) -> coro::task<> {
        coro::event gate;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            for (std::size_t i = 0; i < count; ++i)
                group.spawn_fiber([&gate] { coro::await(gate.wait()); });
            co_await coro::sleep_for(1ms);
            blocked = coro::detail::current->stacks.pool->resident_bytes();
            stacks = coro::detail::current->stacks.pool->stacks_open();
            gate.set();
        };
        co_await coro::with_task_group(body);
        ended = coro::detail::current->stacks.pool->resident_bytes();
    }(resident, idle, open));
    EXPECT_EQ(open, count);
    // One page each, in builds whose frames are of the usual size.
    EXPECT_LE(resident, count * page * (sanitized ? 4 : 1));
    EXPECT_LE(idle, stack_pool::warm_bytes / (64 * kib) * page * (sanitized ? 4 : 1));
}

}  // namespace
}  // namespace coro_test
