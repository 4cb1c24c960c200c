// Signals: the two that stop run(), counted in the handler and acted on by the loop, those that a
// signal_set watches, the one that asks for a dump, and the one that asks a thread for its stack.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include <csignal>

#include <coro/core/detail/loop.hpp>
#include <coro/core/detail/shared_words.hpp>

#include "runtime/poller.hpp"
#include "runtime/thread.hpp"

namespace coro { inline namespace v0 {
class signal_set;
}}

namespace coro { inline namespace v0 { namespace detail {

/// How many stop signals came since the outermost signal_guard began. Async-signal-safe to read.
[[nodiscard]] unsigned stop_signals_received() noexcept;

/// Installs the handlers for the time of one run() and restores the dispositions afterwards. The
/// handler counts and wakes the loop. The third signal has its default action, done inside the
/// handler, so that it works when the loop is stuck. No signalfd: it would need the signals
/// blocked, also in children (signalfd(2)).
class signal_guard {
public:
    /// Does nothing if another run, or a signal_set, has one of the two signals. A SIGINT that is
    /// ignored stays so.
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
};

/// The record that a signal_set shares with the handler: the handler marks the signals that came
/// and posts this to the set's loop. It outlives the set by as long as it is posted.
class signal_watch final : public posted {
public:
    signal_watch(signal_set& of, std::uint64_t wanted) noexcept;
    signal_watch(const signal_watch&) = delete;
    signal_watch& operator=(const signal_watch&) = delete;

    /// Begins to watch. Throws: io_error (device_or_resource_busy); then nothing is watched.
    void begin();
    /// The set goes: no handler touches this afterwards, and it is deleted, now or by the loop.
    void end() noexcept;
    /// In the handler: async-signal-safe.
    void came(int signal) noexcept;

    [[nodiscard]] int take() noexcept;
    [[nodiscard]] std::uint64_t wanted() const noexcept { return wanted_; }
    [[nodiscard]] const detail::loop& loop() const noexcept { return loop_; }

    /// In the list of all; written under the lock, read by handlers.
    std::atomic<signal_watch*> next_watch{nullptr};

private:
    signal_set* set_;  ///< nullptr once it has gone; the loop's thread only
    detail::loop& loop_;
    const std::uint64_t wanted_;  ///< bit n - 1 is signal n
    std::atomic<std::uint64_t> came_{0};  ///< bits: handlers set them, a waiter takes the lowest
    message_flag<> on_its_way_;           ///< from a handler to the loop
};

/// While it lives, the signal that asks for a dump rings a bell. Several runs may have the same
/// one: each bell rings, and whoever takes the request first answers.
class dump_signal {
public:
    /// 0: none. `stop_signals_are_free`: SIGINT and SIGTERM may be it.
    /// Throws: io_error (invalid_argument, device_or_resource_busy).
    dump_signal(int number, bool stop_signals_are_free, bell& rung);
    dump_signal(const dump_signal&) = delete;
    dump_signal& operator=(const dump_signal&) = delete;
    ~dump_signal();

    /// This thread takes the signal from now on, also where the program has blocked it in all of
    /// its own.
    void let_it_come() const noexcept;
    /// The number of a signal that came and was not answered yet; 0: none. What came before all of
    /// those that live is forgotten. Any thread.
    [[nodiscard]] static int take() noexcept;

    // --- read by the handler
    bell& rung;
    const int number;
    std::atomic<dump_signal*> next{nullptr};
};

/// The signal that asks a thread for its stack. By default it is ignored, so one that comes too
/// late does no harm.
inline constexpr int probe_signal = SIGURG;

/// While it lives, `handler` has that signal; all of a process have the same handler.
class probe_signal_guard {
public:
    /// Throws: io_error (device_or_resource_busy), where a signal_set watches it.
    explicit probe_signal_guard(void (*handler)(int signal, siginfo_t* info, void* where));
    probe_signal_guard(const probe_signal_guard&) = delete;
    probe_signal_guard& operator=(const probe_signal_guard&) = delete;
    ~probe_signal_guard();
    /// Async-signal-safe: does what the handler of before the guard would do.
    static void pass_on(int signal, siginfo_t* info, void* where) noexcept;
};

/// Why no program can have that signal for itself; nullptr: it can. `", which cannot be caught"`
[[nodiscard]] const char* refusal_of_signal(int number) noexcept;

[[nodiscard]] constexpr std::uint64_t signal_bit(int number) noexcept {
    return std::uint64_t{1} << (number - 1);
}
/// "SIGHUP", or "signal 40".
[[nodiscard]] std::string name_of_signal(int number);

/// Aborts if a signal_set of this loop is alive: the handler would post to a loop that is gone.
void check_no_signals_watched(const detail::loop& ending) noexcept;

}}}  // namespace coro::v0::detail
