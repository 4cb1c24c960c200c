// Counting what a test left behind.
#include "support/leftovers.hpp"

#include <filesystem>

#include <coro/core/loop.hpp>
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

template <typename Number>
void compare(std::string& into, const char* what, Number before, Number after) {
    if (before == after) return;
    into += std::to_string(before) + " " + what + " before, " + std::to_string(after) + " after\n";
}

}  // namespace

leftovers leftovers::count() {
    return {coro::detail::frames_counted_outside(), open_descriptors(),
            coro::detail::inflight_registry::count()};
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
    return found;
}

void watch_memory(bool on) {
    coro::detail::frame_tracking = on;
    coro::detail::release_check =
        on ? &coro::detail::inflight_registry::assert_none_in : nullptr;
    coro::detail::inflight_registry::enable(on);
}

}  // namespace coro_test
