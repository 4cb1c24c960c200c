// Tells the report hook of an exception that nobody else will see.
#pragma once

#include <exception>

#include <coro/base/report.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Reports `event` with the details of `error`: of an io_error the code, the verb, and the
/// endpoint, if it has one. The endpoint of `event` then names the task, unless it is the same. Of
/// any other exception its text, behind `event.text`.
void report_exception(report_event event, const std::exception_ptr& error) noexcept;

}}}  // namespace coro::v0::detail
