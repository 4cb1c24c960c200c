// Text on stderr that is not a report: a dump that somebody has asked for.
#pragma once

#include <string_view>

namespace coro { inline namespace v0 { namespace detail {

/// Writes all of it, and waits a second for room again and again. False: the reader takes nothing
/// any more, and the rest is not written. Any thread, but none that runs a loop.
bool write_to_stderr(std::string_view text) noexcept;

}}}  // namespace coro::v0::detail
