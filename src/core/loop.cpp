// The thread-local loop pointer, and the census of coroutine frames with their creation sites.
#include <coro/core/detail/loop.hpp>

#include <atomic>
#include <string>
#include <mutex>
#include <unordered_map>

#include <pthread.h>

#include "core/frame_census.hpp"

namespace coro { inline namespace v0 { namespace detail {

constinit thread_local detail::loop* current = nullptr;
bool frame_tracking = false;
void (*release_check)(const void* memory, std::size_t size) noexcept = nullptr;

namespace {

std::atomic<std::int64_t> frames_outside{0};

struct frame_registry {
    std::mutex guard;
    std::unordered_map<const void*, std::source_location> alive;
};
/// Never destroyed: frames may end after the destructors of static objects have run, and so does a
/// fork that takes its lock.
frame_registry& registry() {
    static auto& instance = *new frame_registry;
    return instance;
}

/// The lock is held across a fork. The thread of another loop that held it is not there in the
/// child, which would wait for ever at its first frame.
[[maybe_unused]] const int frame_lock_watches_fork = ::pthread_atfork(
    [] { registry().guard.lock(); }, [] { registry().guard.unlock(); },
    [] { registry().guard.unlock(); });

}  // namespace

void check_released(const void* memory, std::size_t size) noexcept {
    if (release_check != nullptr) release_check(memory, size);
}

void count_frame_outside(int change) noexcept {
    frames_outside.fetch_add(change, std::memory_order_relaxed);
}

void track_frame(const void* frame, std::source_location where) noexcept {
    const std::lock_guard lock(registry().guard);
    registry().alive.insert_or_assign(frame, where);
}

void untrack_frame(const void* frame) noexcept {
    const std::lock_guard lock(registry().guard);
    registry().alive.erase(frame);
}

std::int64_t frames_counted_outside() noexcept {
    return frames_outside.load(std::memory_order_relaxed);
}
void add_frames_of_ended_loop(std::int64_t frames) noexcept {
    frames_outside.fetch_add(frames, std::memory_order_relaxed);
}

void list_tracked_frames(text_sink& out) {
    const std::lock_guard lock(registry().guard);
    for (const auto& [frame, where] : registry().alive) {
        out.write(where.function_name());
        out.write(" created at ");
        out.write(where.file_name());
        out.write(":");
        out.write(std::to_string(where.line()));
        out.write("\n");
    }
}

}}}  // namespace coro::v0::detail
