// Assertions that stay on in release builds: misuse ends the program with one sentence.
#pragma once

#include <coro/base/export.hpp>

namespace coro::inline v0::detail {

/// Prints `file:line: sentence` to stderr and aborts. Never returns, never throws.
[[noreturn]] CORO_EXPORT void assertion_failed(const char* file, int line,
                                               const char* sentence) noexcept;

}  // namespace coro::inline v0::detail

/// Aborts with `sentence` unless `condition` holds; evaluated in every build mode.
#define CORO_ASSERT(condition, sentence)                                              \
    ((condition) ? static_cast<void>(0)                                               \
                 : ::coro::detail::assertion_failed(__FILE__, __LINE__, (sentence)))
