// task<T>: a lazy coroutine that one awaiter owns; starts when awaited, ends before its awaiter
// goes on.
#pragma once

#include <coroutine>
#include <utility>

#include <coro/core/detail/task_promise.hpp>
#include <coro/core/detail/lifetime_checks.hpp>

namespace coro { inline namespace v0 {

/// Whether a task that is destroyed before it ever started is told to the report hook (at first it
/// is). Not told: a task that ends because an exception passes, and a parameter or local variable
/// of a task that failed or never started. For the whole process; any thread.
CORO_EXPORT void report_unstarted_tasks(bool on) noexcept;

/// A coroutine that starts when it is awaited, in the awaiter's strand, and ends before the await
/// does. T may be void, a reference, or move-only. Move-only itself; destroying a task that was
/// never started runs nothing of it, destroys its parameters, and is told to the report hook.
/// If tasks own each other more than 12 deep, the destructor of an inner one returns before its
/// frame is destroyed. The parameters that the outer ones still have go first. All frames are gone
/// when the outermost destructor returns. So the destructor of an inner parameter must not use an
/// object of an outer frame by a reference: share that object (std::shared_ptr).
///
/// Coroutine parameters: by value, or references to what the awaiter keeps alive. A capturing
/// lambda as a coroutine is fine when awaited at once, and refused by spawn.
template <typename T>
class [[nodiscard("co_await it or spawn it")]] task {
public:
    using value_type = T;

    task(task&& other) noexcept
        : frame_(std::exchange(other.frame_, {})),
          promise_(std::exchange(other.promise_, nullptr)) {}
    task& operator=(task&& other) noexcept {
        if (this != &other) {
            destroy();
            frame_ = std::exchange(other.frame_, {});
            promise_ = std::exchange(other.promise_, nullptr);
        }
        return *this;
    }
    ~task() { destroy(); }

    /// Whether it still holds a coroutine (it was not moved from).
    [[nodiscard]] explicit operator bool() const noexcept { return promise_ != nullptr; }

    // A foreign coroutine that awaits a task meets these, and the sentence.
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise>) const noexcept {
        static_assert(detail::own_promise<Promise>,
                      "coro: only a coro::task (or a fiber, by coro::await) can await a "
                      "coro::task; a foreign coroutine type has no cancel scope and no loop");
    }
    T await_resume() const;

private:
    template <typename, typename>
    friend class detail::task_promise;
    friend struct detail::task_access;

    task(std::coroutine_handle<> frame, detail::task_promise_value<T>& promise) noexcept
        : frame_(frame), promise_(&promise) {}

    void destroy() noexcept {
        if (promise_ == nullptr) return;
        if (promise_->ended_well()) [[likely]] detail::destroy_frame(frame_, *promise_);
        else detail::destroy_unfinished(frame_, *promise_);
    }

    std::coroutine_handle<> frame_;
    detail::task_promise_value<T>* promise_;
};

}}  // namespace coro::v0

#include <coro/core/detail/task_awaiter.hpp>
