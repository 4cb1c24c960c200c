// ticker: something to be done again and again, at even times.
#pragma once

#include <cstdint>

#include <coro/base/time.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 {

/// What becomes of ticks that were due while the task did something else.
enum class missed_ticks : std::uint8_t {
    skip,   ///< they are left out; the next one is at the next of the even times
    burst,  ///< each is made up for at once
    delay,  ///< they are left out; the even times begin anew, one period from now
};

/// Ticks at `period`, 2 * `period` and so on from when it was made. It does not drift: what the
/// task does between two ticks, and how late it was resumed, moves none of those that follow.
///     ticker every_second(1s);
///     for (;;) { co_await every_second.next(); report(); }
/// Belongs to the loop on which it was made. One task at a time may wait for it.
class ticker {
public:
    /// Requires: called inside of run(); period > 0 (aborts).
    CORO_EXPORT explicit ticker(time_span period, missed_ticks policy = missed_ticks::skip);

    /// Returns `std::uint64_t`, when the next tick is due: the number of ticks since the last one
    /// that was returned, so 1, or with `skip` one more for each that was missed.
    /// Suspends until it is due; through the run queue, if it is. Resumes on this loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` the tick is still to come, or is missed.
    [[nodiscard("co_await it or spawn it")]] CORO_EXPORT task<std::uint64_t> next();

    /// When the next tick is due.
    [[nodiscard]] time_point due() const noexcept { return due_; }
    [[nodiscard]] duration period() const noexcept { return period_; }

private:
    duration period_;
    time_point due_;
    missed_ticks policy_;
};

}}  // namespace coro::v0
