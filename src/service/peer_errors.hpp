// peer_errors: whose fault the exception of a handler is, and how it is told.
#pragma once

#include <exception>
#include <string_view>

#include <coro/base/report.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Whether it is an error of the connection to `peer`, which the guardian has ended, and not of
/// another one (a proxy's target). A transport that stands on nothing is gone before its handler
/// resumes: nobody knows its name then.
[[nodiscard]] bool is_about(const std::exception_ptr& error, std::string_view peer) noexcept;

/// Tells what the handler of `peer` threw. A peer that leaves, or vanishes, is no fault of the
/// program or its machine: a notice. Where another connection broke (to a proxy's target), its far
/// end is the operator's choice and no peer.
void report_problem(const std::exception_ptr& error, std::string_view peer) noexcept;

}}}  // namespace coro::v0::detail
