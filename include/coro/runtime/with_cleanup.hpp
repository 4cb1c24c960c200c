// with_cleanup: work, and what must be awaited after it however it ends.
#pragma once

#include <source_location>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/detail/cleanup_run.hpp>
#include <coro/runtime/timeout.hpp>

namespace coro { inline namespace v0 {

/// Returns what `body` returns, and awaits `cleanup` after it in every case: value, exception,
/// cancelled. Each is a task, or a callable that returns one (kept to the end; may capture). The
/// clean-up runs shielded from the cancellation and deadlines of all enclosing scopes, for at most
/// `limit`; the error names `where`. A task that is destroyed before it was awaited runs neither.
/// Suspends until both have ended; resumes on this loop.
/// Throws: what the body threw (then an error of the clean-up goes to the report hook). Otherwise
/// it throws what the clean-up threw: io_error (errc::deadline_exceeded) if it reached the limit.
/// Cancel safety: that of the body; the value is lost when the clean-up throws.
template <typename Body, typename Cleanup>
    requires(detail::task_source<std::decay_t<Body>> && detail::task_source<std::decay_t<Cleanup>>)
[[nodiscard("co_await it or spawn it")]] auto with_cleanup(
    Body&& body, Cleanup&& cleanup, time_span limit = default_shield_limit,
    std::source_location where = std::source_location::current()) {
    detail::check_body_callable<Body>();
    detail::check_body_callable<Cleanup>();
    constexpr bool good = detail::check_task_source<std::decay_t<Body>>() &&
                          detail::check_task_source<std::decay_t<Cleanup>>();
    if constexpr (good) return detail::cleanup_coroutine<std::decay_t<Body>, std::decay_t<Cleanup>>(
        std::forward<Body>(body), std::forward<Cleanup>(cleanup), limit, where);
}

}}  // namespace coro::v0
