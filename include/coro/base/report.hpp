// The report hook: the only way the library speaks without being asked.
#pragma once

#include <cstdint>
#include <exception>
#include <string_view>
#include <system_error>

#include <coro/base/detail/export.hpp>

namespace coro { inline namespace v0 {

/// The weight of a report.
enum class severity : std::uint8_t {
    info,
    notice,   ///< what a peer did: a reset, an end in the midst of a message, silence
    warning,
    error,    ///< a fault that the operator must mend
};

/// One thing worth telling an operator. All views are valid only during the call of the hook.
struct report_event {
    severity level = severity::info;
    std::string_view verb;      ///< what was being done: "accept", "run", "spawn"
    std::string_view endpoint;  ///< with whom, may be empty
    std::error_code error;      ///< what the kernel or the library reported, may be 0
    std::string_view text;      ///< why, and what to do about it
    std::string_view task;      ///< which task, or whom it serves; may be empty
};

/// Receives reports. May be called from any thread of a run; must not throw and must not block.
using report_hook = void (*)(const report_event& event, void* user) noexcept;

/// Replaces the hook; nullptr restores the default. That writes one line on stderr, at most 20 a
/// second; of notices one in 10 seconds, with the number of the others. It does not wait for room
/// there; the next line that it writes says how many were not written. Set it before run(): the
/// exchange is atomic, a report under way ends with the old one.
CORO_EXPORT void set_report_hook(report_hook hook, void* user) noexcept;

/// Hands `event` to the hook.
CORO_EXPORT void report(const report_event& event) noexcept;

/// Reports `event` with the details of `error`: of an io_error the code, the verb, and the
/// endpoint, if it has one. The endpoint of `event` then names the task, unless it is the same. Of
/// any other exception it adds the text, behind that of `event`. For an exception that no caller
/// will see.
CORO_EXPORT void report_exception(report_event event, const std::exception_ptr& error) noexcept;

}}  // namespace coro::v0
