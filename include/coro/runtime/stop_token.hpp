// The bridge from and to std::stop_token: with_stop_token, with_stop_source.
#pragma once

#include <stop_token>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/runtime/detail/stop_bridge.hpp>

namespace coro { inline namespace v0 {

/// Returns `std::optional` with the value of `awaitable`, an operation or a task (for void: true).
/// It is empty (false) if a stop of `token`, requested on any thread, cancelled the awaitable and
/// no enclosing scope is cancelled. A value that comes all the same is returned.
/// Suspends and resumes as `awaitable` does. Throws: what `awaitable` throws.
/// Cancel safety: that of `awaitable`.
/// Requires: as with_timeout.
template <detail::referred_operand Awaitable>
[[nodiscard("co_await it")]] auto with_stop_token(
    std::stop_token token, Awaitable&& awaitable CORO_LIFETIMEBOUND) {
    return detail::stop_token_awaiter<detail::held<Awaitable>>(
        std::move(token), detail::hold(std::forward<Awaitable>(awaitable)));
}
template <detail::owned_operand Awaitable>
[[nodiscard("co_await it or spawn it")]] auto with_stop_token(std::stop_token token,
                                                              Awaitable&& awaitable) {
    return detail::stop_token_awaiter<detail::held<Awaitable>>(
        std::move(token), detail::hold(std::forward<Awaitable>(awaitable)));
}

/// Returns what `awaitable` returns. Requests a stop of `source` when the scope of the await is
/// cancelled, or a stop is requested there, meanwhile or before. The callbacks of `source` then run
/// on this loop, between two tasks; they must not block.
/// Suspends and resumes as `awaitable` does. Throws: what `awaitable` throws; cancelled.
/// Cancel safety: that of `awaitable`.
/// Requires: as with_timeout.
template <detail::referred_operand Awaitable>
[[nodiscard("co_await it")]] auto with_stop_source(
    std::stop_source source, Awaitable&& awaitable CORO_LIFETIMEBOUND) {
    return detail::stop_source_awaiter<detail::held<Awaitable>>(
        std::move(source), detail::hold(std::forward<Awaitable>(awaitable)));
}
template <detail::owned_operand Awaitable>
[[nodiscard("co_await it or spawn it")]] auto with_stop_source(std::stop_source source,
                                                               Awaitable&& awaitable) {
    return detail::stop_source_awaiter<detail::held<Awaitable>>(
        std::move(source), detail::hold(std::forward<Awaitable>(awaitable)));
}

}}  // namespace coro::v0
