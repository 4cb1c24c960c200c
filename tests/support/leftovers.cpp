// Counting what a test left behind.
#include "support/leftovers.hpp"

#include <filesystem>

#include <coro/core/detail/destruction.hpp>
#include <coro/core/detail/loop.hpp>
#include <coro/runtime/run.hpp>

#include "core/frame_census.hpp"
#include "poller/inflight_registry.hpp"

namespace coro_test {
namespace {

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& each : std::filesystem::directory_iterator("/proc/self/fd"))
        ++count;
    return count;
}

unsigned expected_unstarted = 0;

template <typename Number>
void compare(std::string& into, const char* what, Number before, Number after) {
    if (before == after) return;
    into += std::to_string(before) + " " + what + " before, " + std::to_string(after) + " after\n";
}

}  // namespace

leftovers leftovers::count() {
    return {coro::detail::frames_counted_outside(), open_descriptors(),
            coro::detail::inflight_registry::count(),
            coro::detail::unstarted_tasks_reported() - expected_unstarted};
}

std::string left_since(const leftovers& before) {
    const leftovers after = leftovers::count();
    std::string found;
    compare(found, "coroutine frames", before.frames, after.frames);
    if (!found.empty()) {
        coro::detail::string_sink alive;
        coro::detail::list_tracked_frames(alive);
        found += alive.content;
    }
    compare(found, "open descriptors", before.descriptors, after.descriptors);
    compare(found, "pending receives", before.receives, after.receives);
    compare(found, "forgotten tasks", before.unstarted, after.unstarted);
    return found;
}

unstarted_tasks_expected::unstarted_tasks_expected() noexcept
    : before_(coro::detail::unstarted_tasks_reported()) {}
unstarted_tasks_expected::~unstarted_tasks_expected() {
    expected_unstarted += coro::detail::unstarted_tasks_reported() - before_;
}

void watch_memory(bool on) {
    coro::detail::frame_tracking = on;
    coro::detail::release_check =
        on ? &coro::detail::inflight_registry::assert_none_in : nullptr;
    coro::detail::inflight_registry::enable(on);
}

}  // namespace coro_test
