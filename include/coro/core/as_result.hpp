// as_result: errors as values, for any operation or task.
#pragma once

#include <utility>

#include <coro/base/result.hpp>
#include <coro/core/detail/result_awaiter.hpp>

namespace coro { inline namespace v0 {

/// Returns `result` of what `awaitable` (an operation or a task) returns: an io_error is a value.
/// Throws: everything but io_error that the awaitable throws; `cancelled` passes through.
/// Cancel safety: that of `awaitable`.
/// Requires: it is awaited in the expression that makes it, unless `awaitable` is a task, which it
/// owns.
template <detail::referred_operand Awaitable>
[[nodiscard("co_await it")]] auto as_result(Awaitable&& awaitable CORO_LIFETIMEBOUND) {
    return detail::result_awaiter<detail::held<Awaitable>>(
        detail::hold(std::forward<Awaitable>(awaitable)));
}
template <detail::owned_operand Awaitable>
[[nodiscard("co_await it")]] auto as_result(Awaitable&& awaitable) {
    return detail::result_awaiter<detail::held<Awaitable>>(
        detail::hold(std::forward<Awaitable>(awaitable)));
}

}}  // namespace coro::v0
