// Assertions that stay on in release builds: misuse ends the program with one sentence, which names
// the line of the program and the task.
#pragma once

#include <cstdint>

#include <coro/base/detail/export.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The place of a misuse in the program, as far as it is known: the latest await of the task that
/// runs.
enum class misuse_moment : std::uint8_t {
    in_await,        ///< it is that await
    await_or_later,  ///< it is that await, or what the program called since
};

/// Prints `coro: <place in the program> (<task>): sentence [file:line]` to stderr and aborts, where
/// `file` and `line` are the library's own. Never returns, never throws.
[[noreturn]] CORO_EXPORT void misused(
    const char* file, int line, const char* sentence,
    misuse_moment moment = misuse_moment::await_or_later) noexcept;
/// The same where `file` and `line` are the program's: `coro: file:line (<task>): sentence`.
[[noreturn]] CORO_EXPORT void assertion_failed(const char* file, int line,
                                               const char* sentence) noexcept;

}}}  // namespace coro::v0::detail

/// Aborts with `sentence` unless `condition` holds; evaluated in every build mode.
#define CORO_ASSERT(condition, sentence)                                    \
    ((condition) ? static_cast<void>(0)                                     \
                 : ::coro::detail::misused(__FILE__, __LINE__, (sentence)))
