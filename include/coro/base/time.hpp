// Time as the library counts it: monotonic nanoseconds that only a loop can read.
#pragma once

#include <chrono>

namespace coro::inline v0 {

/// The library's clock. It has no now(): the time belongs to the loop (`coro::now()`), so that a
/// simulation can own it. In the real worlds it is CLOCK_MONOTONIC (clock_gettime(2)).
struct clock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<clock, duration>;
    static constexpr bool is_steady = true;
};

using duration = clock::duration;
using time_point = clock::time_point;

/// A deadline that never comes.
inline constexpr time_point never = time_point::max();

/// `from + span`, held inside the representable range; a negative span counts as zero.
[[nodiscard]] constexpr time_point saturating_add(time_point from, duration span) noexcept {
    if (span <= duration::zero()) return from;
    if (from > never - span) return never;
    return from + span;
}

}  // namespace coro::inline v0
