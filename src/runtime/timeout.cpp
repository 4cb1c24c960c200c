// The text of a deadline that has passed: whose it is, of how long, and at which line.
#include <coro/runtime/timeout.hpp>

#include <array>
#include <string>

#include "base/site.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// In the largest unit that leaves no rest: `1 s`, `1500 ms`, `1 ns`.
std::string text_of(duration span) {
    struct unit {
        duration one;
        const char* name;
    };
    static constexpr std::array<unit, 3> units{{{std::chrono::seconds(1), " s"},
                                                {std::chrono::milliseconds(1), " ms"},
                                                {std::chrono::microseconds(1), " us"}}};
    for (const unit& each : units)
        if (span % each.one == duration::zero())
            return std::to_string(span / each.one) + each.name;
    return std::to_string(span.count()) + " ns";
}

}  // namespace

void throw_deadline_exceeded(const char* verb, const time_limit& limit,
                             const std::source_location& where, const cancelled& found) {
    std::string text;
    if (limit.point == never) text.append("of ").append(text_of(limit.span)).append(" ");
    text.append("at ").append(base_name(where.file_name())).append(":");
    text.append(std::to_string(where.line()));
    throw io_error(errc::deadline_exceeded, verb, error_text{text}, found.endpoint());
}

}}}  // namespace coro::v0::detail
