// The loops of a run as a program names them, and the way in for threads that are none of them.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/detail/posted_call.hpp>

namespace coro { inline namespace v0 {

/// Returns the number of loops of this run: run_options::loops. Requires: called inside of run().
[[nodiscard]] CORO_EXPORT unsigned loop_count() noexcept;
/// The number of the running loop, from 0. Requires: called inside of run().
[[nodiscard]] CORO_EXPORT unsigned loop_index() noexcept;

/// Refers to a loop from any thread, for as long as one likes: it does not keep the loop alive.
/// Copies refer to the same loop. All members are thread-safe.
class loop_handle {
public:
    /// The running loop. Requires: called inside of run().
    CORO_EXPORT static loop_handle of_this_loop() noexcept;

    /// Has `work()` called on the loop's thread, between two tasks, in the order of the posts of
    /// one thread. It must not throw (that is std::terminate) and cannot await: it sets an event,
    /// spawns into a group of that loop, or counts. Destroyed on that thread, after the call.
    /// A turn of the loop calls at most 256, so tasks, timers and I/O have their turns too. Posts
    /// that come faster than that wait in memory, without a limit.
    /// Throws: io_error (errc::closed) when the loop has ended; std::bad_alloc.
    template <typename Work>
        requires std::invocable<Work&>
    void post(Work work) const {
        static_assert(!detail::task_type<std::invoke_result_t<Work&>>,
                      "coro: a post calls a plain function; the task that this one returns would "
                      "never run: let the post spawn it into a group of that loop");
        auto* call = detail::posted_call<Work>::make(std::move(work));
        if (hand_over(*call)) return;
        call->destroy();
        throw io_error(errc::closed, "post");
    }

    /// Whether the loop has ended. False may be out of date when it is read.
    [[nodiscard]] CORO_EXPORT bool has_ended() const noexcept;

private:
    friend class detail::foreign_run;
    explicit loop_handle(std::shared_ptr<detail::loop_gate> gate, detail::loop& loop) noexcept
        : gate_(std::move(gate)), loop_(&loop), id_(loop.id) {}
    /// False: the loop has ended.
    CORO_EXPORT bool hand_over(detail::posted& work) const noexcept;

    std::shared_ptr<detail::loop_gate> gate_;
    detail::loop* loop_;  ///< not to be touched but by loops of the same run
    detail::loop_id id_;
};

/// Runs `work` on the loop of `where` and blocks this thread until it has ended; returns its value.
/// When the run ends before that, `work` is cancelled. For threads that belong to other libraries.
/// Requires: this thread runs no loop (aborts): there one says co_await.
/// Throws: what `work` threw; io_error (errc::closed) when the run has ended, or ended it.
template <typename T>
T sync_wait(const loop_handle& where, task<T> work) {
    CORO_ASSERT(detail::current == nullptr,
                "sync_wait would block this loop: co_await the task instead");
    detail::check_startable(work, "sync_wait for a task that was moved from",
                            "sync_wait for a task that had been started before: it runs once");
    detail::task_promise_value<T>& promise = detail::task_access::promise(work);
    detail::foreign_run runner(promise, detail::task_access::frame(work));
    runner.run_on(where);
    return promise.take();
}

/// The same for a combinator of tasks.
template <detail::task_free_awaitable Awaitable>
decltype(auto) sync_wait(const loop_handle& where, Awaitable&& work) {
    if constexpr (detail::runnable<Awaitable>)
        return sync_wait(where, detail::as_task(std::forward<Awaitable>(work)));
    else detail::refuse_operation<Awaitable>();
}

}}  // namespace coro::v0
