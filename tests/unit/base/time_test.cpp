// Spans and points in time: every std::chrono::duration goes in, nothing wraps around.
#include <coro/base/time.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <ratio>
#include <type_traits>

#include <gtest/gtest.h>

#include "support/extreme_spans.hpp"

namespace coro {
namespace {

using namespace std::chrono_literals;
using std::chrono::hours;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using std::chrono::years;
template <typename Rep, typename Period = std::ratio<1>>
using span_of = std::chrono::duration<Rep, Period>;

static_assert(std::is_trivially_destructible_v<time_span> &&
              std::is_trivially_copyable_v<time_span> && sizeof(time_span) == sizeof(duration));
static_assert(std::is_nothrow_convertible_v<hours, time_span> &&
              std::is_nothrow_convertible_v<span_of<float, std::milli>, time_span>);
static_assert(!std::is_convertible_v<int, time_span> && !std::is_convertible_v<double, time_span>);

// In constant expressions, where wrapping around or a cast out of range would not compile.
static_assert(time_span() == 0ns && time_span(30s) == 30s && time_span(-1500ms) == -1500ms);
static_assert(time_span(hours::max()) == duration::max());
static_assert(time_span(hours::min()) == duration::min());
static_assert(time_span(seconds::max()) == duration::max());
static_assert(time_span(years(300)) == duration::max() && time_span(years(292)) < duration::max());
static_assert(time_span(years(-300)) == duration::min());
static_assert(time_span(nanoseconds::max()) == duration::max());
static_assert(time_span(nanoseconds::min()) == duration::min());

TEST(time_span, keeps_what_can_be_held_and_rounds_to_the_nearest_nanosecond) {
    EXPECT_EQ(time_span(std::chrono::microseconds(7)), 7000ns);
    EXPECT_EQ(time_span(span_of<std::int8_t>(100)), 100s);
    EXPECT_EQ(time_span(span_of<std::uint8_t, std::ratio<3600>>(255)), 255h);
    EXPECT_EQ(time_span(span_of<int, std::ratio<1, 60>>(90)), 1500ms) << "frames of a film";
    EXPECT_EQ(time_span(span_of<int, std::ratio<1, 60>>(1)), 16'666'667ns);
    EXPECT_EQ(time_span(span_of<int, std::pico>(1499)), 1ns);
    EXPECT_EQ(time_span(span_of<int, std::pico>(1500)), 2ns);
    EXPECT_EQ(time_span(span_of<int, std::pico>(-1500)), -2ns);
    EXPECT_EQ(time_span(span_of<double>(0.1)), 100ms);
    EXPECT_EQ(time_span(span_of<float>(0.5F)), 500ms);
    EXPECT_EQ(time_span(span_of<double, std::milli>(-2.5)), -2500us);
    EXPECT_EQ(time_span(span_of<long double, std::nano>(0.5L)), 1ns);
    EXPECT_EQ(time_span(nanoseconds::max() - 1ns), nanoseconds::max() - 1ns);
    EXPECT_EQ(time_span(span_of<long double, std::nano>(
                  static_cast<long double>(std::numeric_limits<std::int64_t>::max() - 1))),
              nanoseconds::max() - 1ns);
}

TEST(time_span, holds_what_is_too_much_at_the_ends) {
    using coro_test::span_meaning;
    coro_test::for_each_extreme_span([](const char* name, auto span, span_meaning meaning) {
        const time_span held = span;
        if (meaning == span_meaning::no_limit) EXPECT_EQ(held, duration::max()) << name;
        else EXPECT_LE(held, 0ns) << name;
    });
    EXPECT_EQ(time_span(span_of<double>(std::nan(""))), 0ns);
    EXPECT_EQ(time_span(span_of<double>(-INFINITY)), duration::min());
    EXPECT_EQ(time_span(span_of<std::uint64_t>(std::uint64_t{1} << 63)), duration::max());
    EXPECT_EQ(time_span(span_of<std::uint64_t, std::nano>(std::uint64_t{1} << 63)),
              duration::max());
    // Ticks longer than 64 bits of nanoseconds, which the standard refuses to convert at all.
    EXPECT_EQ(time_span(span_of<int, std::exa>(1)), duration::max());
    EXPECT_EQ(time_span(span_of<int, std::exa>(-1)), duration::min());
    EXPECT_EQ(time_span(span_of<int, std::exa>(0)), 0ns);
    EXPECT_EQ(time_span(span_of<int, std::atto>(std::numeric_limits<int>::max())), 2ns);
}

/// At each edge of the multiplication: what fits is exact, one more is held at the end.
template <typename Span>
void check_edges() {
    constexpr std::int64_t per_tick = duration(Span(1)).count();
    constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / per_tick;
    EXPECT_EQ(time_span(Span(most)).count(), most * per_tick);
    EXPECT_EQ(time_span(Span(most + 1)), duration::max());
    EXPECT_EQ(time_span(Span(-most)).count(), -most * per_tick);
    EXPECT_EQ(time_span(Span(-most - 1)), duration::min());
}

TEST(time_span, is_exact_up_to_the_edge) {
    check_edges<std::chrono::microseconds>();
    check_edges<std::chrono::milliseconds>();
    check_edges<seconds>();
    check_edges<std::chrono::minutes>();
    check_edges<hours>();
}

TEST(time_span, is_read_and_changed_as_a_duration) {
    struct {
        time_span idle = 60s;
    } options;
    EXPECT_EQ(options.idle / 2, 30s);
    EXPECT_EQ(options.idle + 1s, 61s);
    EXPECT_TRUE(options.idle > 59s && 61s > options.idle);
    EXPECT_EQ(std::chrono::duration_cast<seconds>(options.idle).count(), 60);
    options.idle *= 2;
    const duration doubled = options.idle;
    EXPECT_EQ(doubled, 2min);
    options.idle = hours::max();
    EXPECT_EQ(options.idle, duration::max());
}

TEST(time_point, is_added_to_any_span_without_wrapping_around) {
    constexpr time_point present{1s};
    static_assert(std::is_same_v<decltype(present + 1h), time_point> &&
                  std::is_same_v<decltype(present + span_of<double>(1)), time_point> &&
                  std::is_same_v<decltype(1h + present), time_point> &&
                  std::is_same_v<decltype(present - 1ns), time_point> &&
                  std::is_same_v<decltype(present - present), duration>);
    static_assert(present + hours::max() == never && years(300) + present == never);
    static_assert(present - hours::max() == time_point::min() + 1s + 1ns);
    static_assert(present - hours::min() == never);
    static_assert(present + hours::min() == time_point::min() + 1s);
    static_assert(time_point(-1s) + hours::min() == time_point::min());
    static_assert(time_point(-2s) - hours::max() == time_point::min());
    EXPECT_EQ(present + 2s, time_point(3s));
    EXPECT_EQ(500ms + present, time_point(1500ms));
    EXPECT_EQ(present - 2s, time_point(-1s));
    EXPECT_EQ(present + span_of<double>(0.25), time_point(1250ms));
    EXPECT_EQ(present + span_of<double>(INFINITY), never);
    EXPECT_EQ(present + span_of<double>(std::nan("")), present);
    EXPECT_EQ(never + 1ns, never);
    EXPECT_EQ(time_point::min() - 1ns, time_point::min());
    EXPECT_EQ(present + time_span(seconds::max()), never);
}

TEST(time_point, is_not_moved_back_by_a_negative_span_that_is_a_limit) {
    constexpr time_point present{1s};
    EXPECT_EQ(saturating_add(present, -5s), present);
    EXPECT_EQ(saturating_add(present, hours::min()), present);
    EXPECT_EQ(saturating_add(present, 5s), time_point(6s));
    EXPECT_EQ(saturating_add(present, hours::max()), never);
}

}  // namespace
}  // namespace coro
