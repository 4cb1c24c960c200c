// Time as a task sees it: now, sleep_for, sleep_until, yield.
#pragma once

#include <coro/base/time.hpp>
#include <coro/runtime/detail/sleep_awaiter.hpp>
#include <coro/runtime/detail/this_strand.hpp>

namespace coro { inline namespace v0 {

/// The time of the world that this loop runs in: CLOCK_MONOTONIC, or the simulation's.
/// Requires: called inside of run().
[[nodiscard]] inline time_point now() noexcept { return detail::this_loop().read_clock(); }

/// Returns nothing, at `deadline`: never less, and at most one tick (1 ms) more than the loop
/// needs.
/// Suspends always (through the run queue, if the deadline has passed); resumes on this loop.
/// Throws: cancelled. Cancel safety: nothing to lose.
[[nodiscard("co_await it")]] inline detail::sleep_awaiter sleep_until(
    time_point deadline) noexcept {
    return detail::sleep_awaiter(deadline);
}

/// Returns nothing, after `span`, counted from the await; see sleep_until. A span of zero or less
/// lets the others run first (in a simulation with a seed, some may run after it). The greatest
/// waits until it is cancelled (base/time.hpp).
[[nodiscard("co_await it")]] inline detail::sleep_awaiter sleep_for(
    time_span span) noexcept {
    return detail::sleep_awaiter(span);
}

/// Returns nothing. Lets every task that is ready run before this one goes on. In a simulation with
/// a seed, others may run after it.
/// Suspends always; resumes on this loop. Throws: cancelled.
[[nodiscard("co_await it")]] inline detail::yield_awaiter yield() noexcept {
    return {};
}

}}  // namespace coro::v0
