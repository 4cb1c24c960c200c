// signal_set: signals of the process as something that tasks wait for.
#pragma once

#include <cstddef>
#include <initializer_list>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

namespace detail {
class signal_watch;
/// A signal that came and was not taken yet, the one with the lowest number; 0: none.
CORO_EXPORT int take_signal(signal_watch& from) noexcept;
CORO_EXPORT void describe_signals(const signal_watch& of, text_sink& out) noexcept;
}  // namespace detail

/// Watches signals of the process while it lives: they have no other effect, and next() tells which
/// came. Afterwards they do again what they did before.
///
/// A signal that comes while no task waits is kept. Several of one number that come before the
/// first is taken count as one, as in the kernel (signal(7)). Every set that watches a number
/// learns of it, in all runs of the process. SIGINT and SIGTERM belong to run(), unless it runs
/// with signal_policy::leave: they end the program, and a stop requested is how tasks learn of it.
///
/// Belongs to the loop on which it was made; tasks of other loops of the run may await next().
/// Destroying it while a task waits, or on another loop, aborts. Not for a simulation that is to be
/// repeatable, unless the program itself raises the signals: they come then in the next turn.
class signal_set {
    class awaiter;

public:
    /// Watches `signals` from now on: `coro::signal_set reload{SIGHUP};`
    /// Requires: called inside of run().
    /// Throws: std::bad_alloc; io_error. That is std::errc::invalid_argument for no number at all,
    /// and for a number that is no signal or cannot be caught (SIGKILL, SIGSTOP). It is so too for
    /// a fault of the program itself (SIGSEGV, SIGABRT and their like). It is
    /// std::errc::device_or_resource_busy for SIGINT or SIGTERM where run() handles them (a SIGINT
    /// that it left ignored is free). It is so too for the signal of run_options::dump_signal, and
    /// with a watchdog for SIGURG. Nothing is watched then.
    /// Source: sigaction(2).
    CORO_EXPORT signal_set(std::initializer_list<int> signals);
    signal_set(const signal_set&) = delete;
    signal_set& operator=(const signal_set&) = delete;
    /// Drops the signals that came and were not taken.
    CORO_EXPORT ~signal_set();

    /// Returns `int`: the number of a signal of the set that came; the lowest, if several came. Of
    /// the tasks that wait, the first gets it.
    /// Suspends until one comes, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: a signal that came is kept for the next call.
    [[nodiscard("co_await it")]] awaiter next() noexcept;

private:
    friend class detail::signal_watch;
    /// Hands the signals that came to the tasks that wait.
    CORO_EXPORT void deliver() noexcept;

    detail::home_loop home_;
    detail::signal_watch* watch_;  ///< shared with the handler, which may be about to be done
    detail::intrusive_list<awaiter> waiters_;
};

class [[nodiscard("co_await it")]] signal_set::awaiter final
    : public detail::library_awaiter<signal_set::awaiter>,
      public detail::list_node<signal_set::awaiter> {
public:
    explicit awaiter(signal_set& of) noexcept : set_(of) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return set_.home_; }
    bool try_now() noexcept {
        if (!set_.waiters_.empty()) return false;
        number_ = detail::take_signal(*set_.watch_);
        return number_ != 0;
    }
    bool start() noexcept {
        set_.waiters_.push_back(*this);
        ++detail::current->outside_waits;
        return true;
    }
    [[nodiscard]] int finish() const noexcept { return number_; }

    void cancel_wait() noexcept override {
        unlink();
        --detail::current->outside_waits;
        end_cancelled();
    }
    void describe(detail::text_sink& out) const noexcept override {
        detail::describe_signals(*set_.watch_, out);
    }

private:
    friend class signal_set;
    signal_set& set_;
    int number_ = 0;
};

inline signal_set::awaiter signal_set::next() noexcept { return awaiter(*this); }

}}  // namespace coro::v0
