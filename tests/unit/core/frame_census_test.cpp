// The census of frames: counts them, names their creation sites, and does detect a leak.
#include "core/frame_census.hpp"

#include <functional>
#include <optional>
#include <set>

#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class frame_census_test : public core_test {};

coro::task<> a_leaked_coroutine() { co_return; }

TEST_F(frame_census_test, canary_a_frame_that_is_kept_is_counted_and_named) {
    const dropped_tasks dropped;
    const auto before = coro::detail::frames_counted_outside();
    std::optional<coro::task<>> kept(a_leaked_coroutine());
    EXPECT_EQ(coro::detail::frames_counted_outside(), before + 1);
    coro::detail::string_sink alive;
    coro::detail::list_tracked_frames(alive);
    EXPECT_NE(alive.content.find("a_leaked_coroutine"), std::string::npos) << alive.content;
    EXPECT_NE(alive.content.find("frame_census_test.cpp:"), std::string::npos) << alive.content;
    kept.reset();
    EXPECT_EQ(coro::detail::frames_counted_outside(), before);
}

TEST_F(frame_census_test, canary_a_frame_that_outlives_its_loop_is_counted) {
    const dropped_tasks dropped;
    const auto before = coro::detail::frames_counted_outside();
    std::optional<coro::task<>> kept;
    simulate([](std::optional<coro::task<>>& out) -> coro::task<> {
        out.emplace(a_leaked_coroutine());
        co_return;
    }(kept));
    EXPECT_EQ(coro::detail::frames_counted_outside(), before + 1);
    kept.reset();
    EXPECT_EQ(coro::detail::frames_counted_outside(), before);
}

TEST_F(frame_census_test, the_statistics_of_a_loop_count_its_frames) {
    const dropped_tasks dropped;
    simulate([]() -> coro::task<> {
        const auto frames = coro::current_loop_stats().frames;
        const coro::task<> unstarted = a_leaked_coroutine();
        EXPECT_EQ(coro::current_loop_stats().frames, frames + 1);
        co_return;
    }());
}

#if CORO_TEST_HAS_FEATURE(address_sanitizer) || defined(__SANITIZE_ADDRESS__)
coro::task<> lend_local(const volatile char*& out) {
    volatile char local = 1;
    out = &local;
    co_await coro::yield();
    local = 2;
}

// AddressSanitizer sees what is done to a frame after its end.
TEST_F(frame_census_test, canary_the_use_of_a_frame_after_its_end_is_seen) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     const volatile char* lent = nullptr;
                     co_await lend_local(lent);
                     EXPECT_EQ(*lent, 2);
                 }()),
                 "heap-use-after-free");
}
#endif

// Sanitized builds give every frame back, to see its use after the end.
#if !CORO_TEST_SANITIZED
coro::task<> note_address(std::set<const void*>& seen) {
    const char local = 0;
    seen.insert(&local);
    co_await coro::yield();
    EXPECT_EQ(local, 0);
}

TEST_F(frame_census_test, frames_are_recycled) {
    simulate([]() -> coro::task<> {
        std::set<const void*> awaited;
        for (int i = 0; i < 1000; ++i) co_await note_address(awaited);
        EXPECT_EQ(awaited.size(), 1u);
        std::set<const void*> spawned;
        auto body = [&spawned](coro::task_group& group) -> coro::task<> {
            for (int i = 0; i < 1000; ++i) {
                group.spawn(note_address, std::ref(spawned));
                co_await coro::yield();
                co_await coro::yield();
            }
        };
        co_await coro::with_task_group(body);
        EXPECT_LE(spawned.size(), 2u);
    }());
}
#endif

}  // namespace
}  // namespace coro_test
