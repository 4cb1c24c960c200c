// SIGINT and SIGTERM while run() runs: counted in the handler, acted on by the loop.
#pragma once

#include <array>

#include <csignal>

#include "runtime/poller.hpp"

namespace coro::inline v0::detail {

/// How many stop signals came since the outermost signal_guard began. Async-signal-safe to read.
[[nodiscard]] unsigned stop_signals_received() noexcept;

/// Installs the handlers for the time of one run() and restores the dispositions afterwards. The
/// handler counts and wakes the loop; the third signal has its default action, done inside the
/// handler, so that it works when the loop is stuck. No signalfd: it would need the signals
/// blocked, also in children (signalfd(2)).
class signal_guard {
public:
    signal_guard(bool install, poller& to_wake) noexcept;
    signal_guard(const signal_guard&) = delete;
    signal_guard& operator=(const signal_guard&) = delete;
    ~signal_guard();

    /// Whether this one has the handlers: signals that came are its own.
    [[nodiscard]] bool installed() const noexcept { return installed_; }
    /// The signal that came last, 0 if none did.
    [[nodiscard]] int last_signal() const noexcept;

private:
    bool installed_ = false;
    struct sigaction interrupt_before_ {};
    struct sigaction terminate_before_ {};
};

}  // namespace coro::inline v0::detail
