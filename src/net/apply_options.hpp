// Tells a socket its options, through the waist.
#pragma once

#include <cstdint>
#include <string_view>

#include <coro/base/error.hpp>
#include <coro/net/socket_options.hpp>

#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// The first option that was refused. `verb` names it and is a literal: io_error's operation.
struct option_failure {
    int error = 0;  ///< a negated errno or result_closed; 0: all are set
    const char* verb = "";

    [[nodiscard]] explicit operator bool() const noexcept { return error != 0; }
};

/// Sets what is set in `options`, in the order of the members, and stops at the first refusal. A
/// value that does not fit the kernel's int is refused here, with -EINVAL.
[[nodiscard]] option_failure apply_options(detail::poller& poller, detail::handle socket,
                                           const net::stream_options& options) noexcept;

/// To be called before bind() and connect; the local endpoint is not looked at.
[[nodiscard]] option_failure apply_options(detail::poller& poller, detail::handle socket,
                                           const net::connect_options& options) noexcept;

/// To be called before bind(); the backlog belongs to listen() and is not looked at.
[[nodiscard]] option_failure apply_options(detail::poller& poller, detail::handle socket,
                                           const net::listen_options& options) noexcept;

/// The error of a refusal: `verb` and `error` as option_failure has them, `options` those that were
/// to be set. That of a congestion control says which ones there are.
[[nodiscard]] io_error refused_option(std::int32_t error, const char* verb,
                                      const net::stream_options& options,
                                      std::string_view endpoint = {});

}}}  // namespace coro::v0::detail
