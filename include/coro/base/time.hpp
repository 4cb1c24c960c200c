// Time as the library counts it: monotonic nanoseconds that only a loop can read; spans, deadlines.
//
// A span of time means the same in every function and every option that takes one:
//   zero or less   the time is up at once: a sleep lets the others run first, work under a deadline
//                  is cancelled at its first wait, a limit is reached as soon as it is looked at
//   not a number   as zero
//   the greatest   there is no limit: `duration::max()`, and every span of 292 years or more
// Where an option can be left as it is, an empty optional says so.
#pragma once

#include <chrono>
#include <cstdint>
#include <ratio>
#include <type_traits>

namespace coro { inline namespace v0 {

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

namespace detail {

/// Nanoseconds in one tick of `Period`; 0 if that is no whole number, or none that can be held.
template <typename Period>
consteval clock::rep nanoseconds_per_tick() noexcept {
    clock::rep whole = 0;
    if (std::nano::den % Period::den != 0) return 0;
    if (__builtin_mul_overflow(Period::num, std::nano::den / Period::den, &whole)) return 0;
    return whole;
}

/// The standard's conversion wraps around instead: hours::max() would become -1 h.
template <typename Rep, typename Period>
constexpr duration saturated(const std::chrono::duration<Rep, Period>& span) noexcept {
    using period = typename std::chrono::duration<Rep, Period>::period;
    constexpr clock::rep tick = nanoseconds_per_tick<period>();
    if constexpr (std::is_same_v<std::chrono::duration<Rep, Period>, duration>) {
        return span;
    } else if constexpr (std::is_integral_v<Rep> && tick != 0) {
        const auto count = +span.count();
        clock::rep whole = 0;
        if (!__builtin_mul_overflow(count, tick, &whole)) return duration(whole);
        if constexpr (std::is_signed_v<Rep>)
            if (count < 0) return duration::min();
        return duration::max();
    } else {
        constexpr auto most = static_cast<long double>(duration::max().count());
        const long double exact = static_cast<long double>(span.count()) * period::num *
                                  std::nano::den / period::den;
        if (exact >= most) return duration::max();
        if (exact <= -most) return duration::min();
        if (exact > 0) return duration(static_cast<clock::rep>(exact + 0.5L));
        if (exact < 0) return duration(static_cast<clock::rep>(exact - 0.5L));
        return duration::zero();  // not a number comes here too
    }
}

}  // namespace detail

/// A span of time as the library takes it: made of any std::chrono::duration, rounded to whole
/// nanoseconds, and held inside the representable range. See the head of this file for what zero
/// and the greatest mean. It is a coro::duration where one is read: `options.idle / 2`.
class time_span : public duration {
public:
    constexpr time_span() noexcept : duration(zero()) {}
    template <typename Rep, typename Period>
        requires requires(const Rep& count) { static_cast<long double>(count); }
    constexpr time_span(const std::chrono::duration<Rep, Period>& span) noexcept
        : duration(detail::saturated(span)) {}
};

// Points in time of this library are added to spans without wrapping round:
// `coro::now() + std::chrono::hours::max()` is `never`. (`+=` is the standard's, and wraps.)
template <typename Rep, typename Period>
[[nodiscard]] constexpr time_point operator+(
    const time_point& from, const std::chrono::duration<Rep, Period>& span) noexcept {
    const clock::rep count = detail::saturated(span).count();
    clock::rep sum = 0;
    if (__builtin_add_overflow(from.time_since_epoch().count(), count, &sum))
        return count < 0 ? time_point::min() : never;
    return time_point(duration(sum));
}
template <typename Rep, typename Period>
[[nodiscard]] constexpr time_point operator+(const std::chrono::duration<Rep, Period>& span,
                                             const time_point& from) noexcept {
    return from + span;
}
template <typename Rep, typename Period>
[[nodiscard]] constexpr time_point operator-(
    const time_point& from, const std::chrono::duration<Rep, Period>& span) noexcept {
    const clock::rep count = detail::saturated(span).count();
    clock::rep difference = 0;
    if (__builtin_sub_overflow(from.time_since_epoch().count(), count, &difference))
        return count < 0 ? never : time_point::min();
    return time_point(duration(difference));
}

/// `from + span`, but a negative span counts as zero: when the time is up.
[[nodiscard]] constexpr time_point saturating_add(time_point from, time_span span) noexcept {
    return span <= duration::zero() ? from : from + span;
}

}}  // namespace coro::v0
