// Text on stderr that is not a report: a dump that somebody has asked for.
#pragma once

#include <atomic>
#include <string_view>

namespace coro { inline namespace v0 { namespace detail {

/// Writes all of it, and waits a second for room again and again. From when it finds `in_a_hurry`
/// set, it waits a second in all. False: the rest is not written, because the reader takes nothing
/// any more, or too slowly. Any thread, but none that runs a loop.
bool write_to_stderr(std::string_view text, const std::atomic<bool>& in_a_hurry) noexcept;

}}}  // namespace coro::v0::detail
