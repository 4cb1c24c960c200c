// The rare ends of tasks: those that never ran, and those that own each other in a long chain.
#include <coro/core/task.hpp>

#include <atomic>
#include <string>

#include <coro/base/report.hpp>
#include <coro/core/detail/loop.hpp>

#include "base/misuse_place.hpp"

namespace coro { inline namespace v0 {
namespace {

constinit std::atomic<bool> unstarted_are_reported{true};
constinit std::atomic<unsigned> reported{0};

}  // namespace

void report_unstarted_tasks(bool on) noexcept {
    unstarted_are_reported.store(on, std::memory_order_relaxed);
}

namespace detail {

constinit thread_local destruction destroying;

namespace {

/// Inside of a frame whose own end explains that its tasks did not run. One that never ran inside
/// of one that failed ends with that.
class quiet_frame {
public:
    quiet_frame(bool quiet, bool failed) noexcept
        : outer_(std::exchange(destroying.quiet, quiet)),
          outer_failed_(std::exchange(destroying.failed, failed)) {}
    quiet_frame(const quiet_frame&) = delete;
    quiet_frame& operator=(const quiet_frame&) = delete;
    ~quiet_frame() {
        destroying.quiet = outer_;
        destroying.failed = outer_failed_;
    }

private:
    bool outer_;
    bool outer_failed_;
};

/// The maker of a task is not known afterwards. The function that drops it is mostly the same. Its
/// line is the only one of the program if the task is one of the library's own coroutines.
std::string text_of_unstarted() {
    std::string text = "it was destroyed before it had started: co_await it, spawn it, or hand it "
                       "to run (coro::report_unstarted_tasks(false) turns this off)";
    if (current == nullptr || current->running == nullptr) return text;
    misuse_text place;
    add_program_place(place, misuse_moment::await_or_later);
    return text.append("; destroyed at ").append(place.view());
}

void report_unstarted(const task_promise_base& task) noexcept try {
    if (!unstarted_are_reported.load(std::memory_order_relaxed)) return;
    if (destroying.quiet || std::uncaught_exceptions() != 0) return;
    reported.fetch_add(1, std::memory_order_relaxed);
    const std::string place = std::string(task.created.file_name()) + ":" +
                              std::to_string(task.created.line()) + " " +
                              task.created.function_name();
    const std::string text = text_of_unstarted();
    report({.level = severity::warning, .verb = "task", .endpoint = {}, .error = {}, .text = text,
            .task = place});
} catch (const std::bad_alloc&) {
    report({.level = severity::warning, .verb = "task", .endpoint = {}, .error = {},
            .text = "one was destroyed before it had started", .task = {}});
}

}  // namespace

unsigned unstarted_tasks_reported() noexcept { return reported.load(std::memory_order_relaxed); }

void destroy_unfinished(std::coroutine_handle<> frame, task_promise_base& promise) noexcept {
    CORO_ASSERT(promise.state == frame_state::unstarted || promise.state == frame_state::ended,
                "a task was destroyed while it runs; cancel its scope and await its end");
    if (promise.state == frame_state::unstarted) report_unstarted(promise);
    const quiet_frame quiet(true, destroying.failed || promise.failed);
    destroy_frame(frame, promise);
}

/// The promise of a frame that is to be destroyed is free memory. It links the frame, and keeps
/// whether that is destroyed because of a failure.
void destroy_later(std::coroutine_handle<> frame, task_promise_base& promise) noexcept {
    promise.continuation = frame;
    promise.parent = nullptr;
    if (destroying.failed) promise.failed = true;
    if (destroying.first == nullptr) destroying.first = &promise;
    else destroying.last->parent = &promise;
    destroying.last = &promise;
}

/// Requires: no frame is being destroyed.
void destroy_waiting() noexcept {
    ++destroying.depth;
    while (destroying.first != nullptr) {
        task_promise_base& promise = *destroying.first;
        destroying.first = static_cast<task_promise_base*>(promise.parent);
        const quiet_frame quiet(!promise.ended_well(), promise.failed);
        promise.continuation.destroy();
    }
    --destroying.depth;
}

}  // namespace detail
}}  // namespace coro::v0
