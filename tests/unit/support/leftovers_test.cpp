// The look that is taken after each test does see what a test leaves behind.
#include "support/leftovers.hpp"

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>

#include <gtest/gtest.h>

#include <coro/core/detail/loop.hpp>
#include <coro/core/task.hpp>

#include "poller/inflight_registry.hpp"

namespace coro_test {
namespace {

coro::task<> a_forgotten_coroutine() { co_return; }

TEST(leftovers, canary_a_frame_is_named_by_its_site) {
    const leftovers before = leftovers::count();
    EXPECT_EQ(left_since(before), "");
    std::optional<coro::task<>> kept(a_forgotten_coroutine());
    const std::string found = left_since(before);
    EXPECT_NE(found.find("coroutine frames before"), std::string::npos) << found;
    EXPECT_NE(found.find("a_forgotten_coroutine"), std::string::npos) << found;
    const unstarted_tasks_expected dropped;
    kept.reset();
}

TEST(leftovers, canary_a_task_that_died_unstarted_is_counted) {
    const leftovers before = leftovers::count();
    {
        const unstarted_tasks_expected dropped;
        { const auto forgotten = a_forgotten_coroutine(); }
        const std::string count = std::to_string(before.unstarted);
        EXPECT_EQ(left_since(before), count + " forgotten tasks before, " +
                                          std::to_string(before.unstarted + 1) + " after\n");
    }
    EXPECT_EQ(left_since(before), "");
}

TEST(leftovers, canary_a_descriptor_is_counted) {
    const leftovers before = leftovers::count();
    std::ifstream kept("/proc/self/stat");
    EXPECT_EQ(left_since(before), std::to_string(before.descriptors) +
                                      " open descriptors before, " +
                                      std::to_string(before.descriptors + 1) + " after\n");
    kept.close();
    EXPECT_EQ(left_since(before), "");
}

TEST(leftovers, canary_a_pending_receive_is_counted_and_its_memory_may_not_be_given_back) {
    using coro::detail::inflight_registry;
    const leftovers before = leftovers::count();
    void* const block = coro::detail::allocate_block(64);
    inflight_registry::add(&before, static_cast<char*>(block) + 32, 8);
    EXPECT_EQ(left_since(before), "0 pending receives before, 1 after\n");
    EXPECT_DEATH(coro::detail::free_block(block, 64), "a pending receive may still write into it");
    inflight_registry::remove(&before);
    coro::detail::free_block(block, 64);
    EXPECT_EQ(left_since(before), "");
}

}  // namespace
}  // namespace coro_test
