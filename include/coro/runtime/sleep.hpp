// Time as a task sees it: now, sleep_for, sleep_until, yield, the time that remains.
#pragma once

#include <coro/base/detail/assert.hpp>
#include <coro/base/time.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/runtime/detail/timer.hpp>

namespace coro { inline namespace v0 {
namespace detail {

inline detail::loop& this_loop() noexcept {
    CORO_ASSERT(current != nullptr, "this needs a running loop: call it inside of coro::run");
    return *current;
}
inline detail::strand& this_strand() noexcept {
    CORO_ASSERT(current != nullptr && current->running != nullptr,
                "this belongs into a task: call it inside of coro::run");
    return *current->running;
}

class [[nodiscard("co_await it")]] sleep_awaiter final : public library_awaiter<sleep_awaiter> {
public:
    explicit sleep_awaiter(time_point until) noexcept : until_(until) {}
    explicit sleep_awaiter(time_span span) noexcept : span_(span) {}

    bool try_now() const noexcept { return false; }
    bool start() noexcept {
        timer_.self = this;
        // A span counts from here, the await, and not from the call that made the awaiter.
        if (span_ != duration::max()) until_ = saturating_add(loop().read_clock(), span_);
        loop().arm_timer(timer_, until_);
        return true;
    }
    void finish() const noexcept {}

    void cancel_wait() noexcept override {
        loop().disarm_timer(timer_);
        end_cancelled();
    }
    void describe(text_sink& out) const noexcept override { out.write("sleep"); }

private:
    struct node : timer_node {
        node() noexcept
            : timer_node([](timer_node& fired) noexcept {
                  static_cast<node&>(fired).self->end_granted();
              }) {}
        sleep_awaiter* self = nullptr;
    };

    time_point until_ = never;
    duration span_ = duration::max();
    node timer_;
};

class [[nodiscard("co_await it")]] yield_awaiter final : public library_awaiter<yield_awaiter> {
public:
    bool try_now() const noexcept { return false; }
    bool start() noexcept {
        set_outcome(wait_outcome::done);
        loop().make_ready(strand());
        return true;
    }
    void finish() const noexcept {}

    // A strand that yields is ready, never waiting.
    void cancel_wait() noexcept override {}
    void describe(text_sink& out) const noexcept override { out.write("yield"); }
};

}  // namespace detail

/// The time of the world that this loop runs in: CLOCK_MONOTONIC, or the simulation's.
/// Requires: called inside of run().
[[nodiscard]] inline time_point now() noexcept { return detail::this_loop().read_clock(); }

/// Returns nothing, at `deadline`: never less, and at most one tick (1 ms) more than the loop
/// needs.
/// Suspends always (through the run queue, if the deadline has passed); resumes on this loop.
/// Throws: cancelled. Cancel safety: nothing to lose.
[[nodiscard("co_await it")]] inline detail::sleep_awaiter sleep_until(
    time_point deadline) noexcept {
    return detail::sleep_awaiter(deadline);
}

/// Returns nothing, after `span`, counted from the await; see sleep_until. A span of zero or less
/// lets the others run first, the greatest waits until it is cancelled (base/time.hpp).
[[nodiscard("co_await it")]] inline detail::sleep_awaiter sleep_for(
    time_span span) noexcept {
    return detail::sleep_awaiter(span);
}

/// Returns nothing. Lets every task that is ready run before this one goes on.
/// Suspends always; resumes on this loop. Throws: cancelled.
[[nodiscard("co_await it")]] inline detail::yield_awaiter yield() noexcept {
    return {};
}

/// The instant at which a deadline cancels the work that asks, its own or one of an enclosing scope
/// (up to a shield). `never` if there is none. Requires: called inside a task.
[[nodiscard]] inline time_point current_deadline() noexcept {
    return detail::this_strand().scope->deadline();
}

/// The time that remains until current_deadline(): zero if it has passed, duration::max() if there
/// is none.
[[nodiscard]] inline duration time_remaining() noexcept {
    const time_point deadline = current_deadline();
    if (deadline == never) return duration::max();
    const time_point present = now();
    return deadline > present ? deadline - present : duration::zero();
}

/// Whether a stop was requested in the scope of the task that asks: finish what you have begun.
[[nodiscard]] inline bool stop_requested() noexcept {
    return detail::this_strand().scope->stop_requested();
}

/// Whether the task that asks is cancelled: its next await throws `cancelled`.
[[nodiscard]] inline bool is_cancelled() noexcept {
    return detail::scope_access::cancelled(*detail::this_strand().scope);
}

}}  // namespace coro::v0
