// Questions that a task may ask of itself: its number, its deadline, and whether it is to stop.
#pragma once

#include <cstdint>

#include <coro/base/time.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/runtime/detail/this_strand.hpp>
#include <coro/runtime/sleep.hpp>

namespace coro { inline namespace v0 {

/// The number of the task that asks, as dumps and task_view::number() show it. It counts the tasks
/// of one loop from 1. A branch of when_all or when_any has a number of its own.
/// Requires: called inside a task. dump_task() says later where the task waits.
[[nodiscard]] inline std::uint32_t current_task_number() noexcept {
    return detail::this_strand().number;
}

/// The instant at which a deadline cancels the work that asks, its own or one of an enclosing scope
/// (up to a shield). `never` if there is none. Requires: called inside a task.
[[nodiscard]] inline time_point current_deadline() noexcept {
    return detail::this_strand().scope->deadline();
}

/// The time that remains until current_deadline(): zero if it has passed, duration::max() if there
/// is none.
[[nodiscard]] inline duration time_remaining() noexcept {
    const time_point deadline = current_deadline();
    if (deadline == never) return duration::max();
    const time_point present = now();
    return deadline > present ? deadline - present : duration::zero();
}

/// Whether a stop was requested in the scope of the task that asks: finish what you have begun.
[[nodiscard]] inline bool stop_requested() noexcept {
    return detail::this_strand().scope->stop_requested();
}

/// Whether the task that asks is cancelled: its next await throws `cancelled`.
[[nodiscard]] inline bool is_cancelled() noexcept {
    return detail::scope_access::cancelled(*detail::this_strand().scope);
}

}}  // namespace coro::v0
