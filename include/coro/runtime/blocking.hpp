// blocking(f, args…): a call that blocks or burns CPU, on a thread where it holds up no task.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include <coro/runtime/detail/blocking_job.hpp>

namespace coro { inline namespace v0 {

/// Returns what `f(args…)` returns, called on a thread of the run's pool with the arguments copied
/// or moved. It is for calls that block (files, databases, name look-ups) or compute for long. At
/// most run_options::blocking_threads at once; run_options::blocking_queue more wait. In a
/// simulation the thread of the loops calls `f` at once, and that takes no time.
/// Requires: `f` refers to nothing that a task owns, because it may outlive the wait; it does not
/// use the library.
/// Suspends until `f` has returned; resumes on this loop.
/// Throws: what `f` throws; io_error (errc::limit_exceeded: too many wait; the system has no thread
/// left); cancelled.
/// Cancel safety: `f` that has not begun is not called. One that runs goes on alone, and what it
/// returns is lost; the end of run() waits for it up to run_options::blocking_limit.
template <typename Function, typename... Args>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Args>...>
[[nodiscard("co_await it")]] auto blocking(Function&& f, Args&&... args) {
    using value = std::invoke_result_t<std::decay_t<Function>, std::decay_t<Args>...>;
    static_assert(!detail::unsafe_closure_temporary<Function>,
                  "coro: g++ 12 may destroy a temporary closure twice in a co_await expression: "
                  "name the lambda first and pass the name (it is copied; coro::moved(name) moves "
                  "it); it captures by value, because the call may outlive the task");
    static_assert((!detail::unsafe_aggregate<std::remove_cvref_t<Args>> && ...),
                  "coro: g++ 12 may destroy a temporary aggregate with a non-trivial destructor "
                  "twice in a co_await expression: give the type a constructor, or specialise "
                  "coro::trusted_aggregate<T> if you never pass a braced temporary");
    static_assert(!detail::task_type<value>,
                  "coro: blocking calls a plain function; the task that this one returns would not "
                  "run on its thread: await the task itself");
    static_assert(!std::is_reference_v<value>,
                  "coro: a blocking call must not return a reference: to what would be another "
                  "thread's");
    using call = detail::blocking_call<value, std::decay_t<Function>, std::decay_t<Args>...>;
    return detail::blocking_awaiter<value>(
        std::make_unique<call>(std::forward<Function>(f), std::forward<Args>(args)...));
}

}}  // namespace coro::v0
