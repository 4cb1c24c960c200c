// with_cancel_scope: a region of work that its own code can cancel as a whole.
#pragma once

#include <concepts>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/core/detail/callable.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/core/detail/scope_stay.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 {

/// Returns `std::optional` with the value of the task that `body(scope)` returns (for void: true).
/// It is empty (false) if scope.cancel() ended the task and no enclosing scope is cancelled. The
/// task is awaited inside `scope`. The body may cancel `scope`, and so may code to which it hands
/// the reference. A value that comes in spite of the cancellation is returned. `body` is kept to
/// the end and may capture.
/// Requires: `scope` is used on this loop, and not after the end of the await.
/// Suspends and resumes as the body does. Throws: what the body throws; cancelled, if an enclosing
/// scope was cancelled. Cancel safety: that of the body.
template <typename Body>
    requires std::invocable<std::unwrap_reference_t<std::decay_t<Body>>&, cancel_scope&>
[[nodiscard("co_await it or spawn it")]] auto with_cancel_scope(Body&& body) {
    detail::check_body_callable<Body>();
    if constexpr (detail::check_body_task<Body, cancel_scope&>())
        return detail::cancel_scope_coroutine<std::decay_t<Body>>(std::forward<Body>(body));
}

}}  // namespace coro::v0
