// Deadlines around any awaitable: with_timeout, with_deadline, move_on_after, shield.
#pragma once

#include <chrono>
#include <source_location>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/runtime/detail/timeout_awaiter.hpp>
#include <coro/runtime/detail/this_strand.hpp>
#include <coro/runtime/this_task.hpp>

namespace coro { inline namespace v0 {

/// The time that work may take while it runs shielded from cancellation, unless said otherwise.
inline constexpr duration default_shield_limit = std::chrono::seconds(5);

/// Returns what `awaitable` (an operation or a task) returns. It is awaited for at most `timeout`,
/// counted from the await. Deadlines nest and only shrink: time_remaining() inside sees the
/// nearest. The error names `where`.
/// Suspends and resumes as `awaitable` does; returns only after it has ended.
/// Throws: io_error (errc::deadline_exceeded) if the deadline cancelled it and no enclosing scope
/// was cancelled; what `awaitable` throws. That may be the deadline_exceeded of another deadline
/// inside (move_on_after tells them apart). A value that came late is returned all the same.
/// Cancel safety: that of `awaitable`.
/// Requires: it is awaited in the expression that makes it, unless `awaitable` is a task, which it
/// owns.
template <detail::referred_operand Awaitable>
[[nodiscard("co_await it")]] auto with_timeout(
    time_span timeout, Awaitable&& awaitable CORO_LIFETIMEBOUND,
    std::source_location where = std::source_location::current()) {
    return detail::limited(std::forward<Awaitable>(awaitable), {.span = timeout}, "with_timeout",
                           where);
}
template <detail::owned_operand Awaitable>
[[nodiscard("co_await it or spawn it")]] auto with_timeout(
    time_span timeout, Awaitable&& awaitable,
    std::source_location where = std::source_location::current()) {
    return detail::limited(std::forward<Awaitable>(awaitable), {.span = timeout}, "with_timeout",
                           where);
}

/// Returns what `awaitable` returns: with_timeout with a point in time; `never` sets no deadline.
template <detail::referred_operand Awaitable>
[[nodiscard("co_await it")]] auto with_deadline(
    time_point deadline, Awaitable&& awaitable CORO_LIFETIMEBOUND,
    std::source_location where = std::source_location::current()) {
    return detail::limited(std::forward<Awaitable>(awaitable), {.point = deadline}, "with_deadline",
                           where);
}
template <detail::owned_operand Awaitable>
[[nodiscard("co_await it or spawn it")]] auto with_deadline(
    time_point deadline, Awaitable&& awaitable,
    std::source_location where = std::source_location::current()) {
    return detail::limited(std::forward<Awaitable>(awaitable), {.point = deadline}, "with_deadline",
                           where);
}

/// Returns `std::optional` with the value of `awaitable` (for void: true). It is empty (false) if
/// `timeout` was over first: then, and only then, this deadline has passed. An exception
/// deadline_exceeded is that of another one inside. Otherwise as with_timeout.
template <detail::referred_operand Awaitable>
[[nodiscard("co_await it")]] auto move_on_after(
    time_span timeout, Awaitable&& awaitable CORO_LIFETIMEBOUND) {
    return detail::left_behind(std::forward<Awaitable>(awaitable), {.span = timeout});
}
template <detail::owned_operand Awaitable>
[[nodiscard("co_await it or spawn it")]] auto move_on_after(
    time_span timeout, Awaitable&& awaitable) {
    return detail::left_behind(std::forward<Awaitable>(awaitable), {.span = timeout});
}

/// Returns what `awaitable` returns. It is awaited for at most `limit`, protected from the
/// cancellation and the deadlines of all enclosing scopes. After it, cancellation is met at the
/// next await as ever. The error names `where`.
/// Throws: io_error (errc::deadline_exceeded) when the limit cancelled it; what `awaitable` throws.
/// Requires: as with_timeout.
template <detail::referred_operand Awaitable>
[[nodiscard("co_await it")]] auto shield(
    Awaitable&& awaitable CORO_LIFETIMEBOUND, time_span limit = default_shield_limit,
    std::source_location where = std::source_location::current()) {
    return detail::limited(std::forward<Awaitable>(awaitable), {.span = limit}, "shield", where,
                           true);
}
template <detail::owned_operand Awaitable>
[[nodiscard("co_await it or spawn it")]] auto shield(
    Awaitable&& awaitable, time_span limit = default_shield_limit,
    std::source_location where = std::source_location::current()) {
    return detail::limited(std::forward<Awaitable>(awaitable), {.span = limit}, "shield", where,
                           true);
}

}}  // namespace coro::v0
