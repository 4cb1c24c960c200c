// Spans of time at the ends of what their types can hold, and what each has to mean everywhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <utility>

namespace coro_test {

enum class span_meaning : std::uint8_t { at_once, no_limit };

/// Calls `check(name, span, meaning)` for each, with `span` as its own type.
template <typename Check>
void for_each_extreme_span(Check&& check) {
    using namespace std::chrono;
    using real_seconds = duration<double>;
    using real_hours = duration<float, std::ratio<3600>>;
    using limits = std::numeric_limits<double>;
    constexpr auto at_once = span_meaning::at_once;
    constexpr auto no_limit = span_meaning::no_limit;
    check("nanoseconds::max()", nanoseconds::max(), no_limit);
    check("seconds::max()", seconds::max(), no_limit);
    check("hours::max()", hours::max(), no_limit);
    check("years(300)", years(300), no_limit);
    check("unsigned max", duration<std::uint64_t, std::milli>::max(), no_limit);
    check("infinite", real_seconds(limits::infinity()), no_limit);
    check("infinite hours", real_hours(std::numeric_limits<float>::infinity()), no_limit);
    check("double max", real_seconds(limits::max()), no_limit);
    check("zero", seconds(0), at_once);
    check("nanoseconds::min()", nanoseconds::min(), at_once);
    check("seconds::min()", seconds::min(), at_once);
    check("hours::min()", hours::min(), at_once);
    check("negative", -1h, at_once);
    check("minus infinity", real_seconds(-limits::infinity()), at_once);
    check("not a number", real_seconds(limits::quiet_NaN()), at_once);
    check("0.0 s", real_seconds(0.0), at_once);
}

}  // namespace coro_test
