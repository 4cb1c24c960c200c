// until_stop: a wait that a requested stop ends. A handler waits in it between two requests.
#pragma once

#include <utility>

#include <coro/runtime/detail/until_stop_awaiter.hpp>

namespace coro { inline namespace v0 {

/// Returns `std::optional` with the value of `awaitable`, an operation or a task (for void: true).
/// It is empty (false) if a requested stop cancelled the awaitable and no enclosing scope is
/// cancelled. Run's first signal requests one, and request_stop() of an enclosing scope. A value
/// that comes all the same is returned, and so is one that is there already when the stop was
/// requested before. For waits between two requests: `serve` lets handlers finish, and those that
/// wait in this end at once.
/// Suspends and resumes as `awaitable` does. Throws: what `awaitable` throws.
/// Cancel safety: that of `awaitable`.
/// Requires: as with_timeout.
template <detail::referred_operand Awaitable>
[[nodiscard("co_await it")]] auto until_stop(Awaitable&& awaitable CORO_LIFETIMEBOUND) {
    return detail::until_stop_awaiter<detail::held<Awaitable>>(
        detail::hold(std::forward<Awaitable>(awaitable)));
}
template <detail::owned_operand Awaitable>
[[nodiscard("co_await it or spawn it")]] auto until_stop(Awaitable&& awaitable) {
    return detail::until_stop_awaiter<detail::held<Awaitable>>(
        detail::hold(std::forward<Awaitable>(awaitable)));
}

}}  // namespace coro::v0
