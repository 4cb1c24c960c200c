// rate_limiter: how often something may happen, as a token bucket.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include <coro/base/time.hpp>
#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/runtime/detail/timer.hpp>

namespace coro { inline namespace v0 {

struct rate_limit {
    std::size_t tokens = 1;                     ///< that come in each span
    time_span per = std::chrono::seconds(1);    ///< the span
    std::size_t burst = 1;                      ///< how many are kept while nobody takes any
};

/// A bucket of `burst` tokens, full at first, into which tokens come at an even rate. Who takes one
/// goes on at once while there are some, and else waits for its turn:
///     rate_limiter limit({.tokens = 100, .per = 1s, .burst = 10});
///     for (;;) { co_await limit.take(); send_one(); }
/// First come, first served; a large request is not overtaken by small ones. One timer in all.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may take(),
/// which goes there as a message; the other members abort there. Destroying it while a task waits
/// aborts. It must outlive the tasks that use it on other loops.
class rate_limiter {
    class awaiter;

public:
    /// Requires: tokens, burst and the time between two tokens are above 0 (aborts). The latter is
    /// rounded down to whole nanoseconds.
    CORO_EXPORT explicit rate_limiter(const rate_limit& limit) noexcept;
    rate_limiter(const rate_limiter&) = delete;
    rate_limiter& operator=(const rate_limiter&) = delete;
    ~rate_limiter() {
        CORO_ASSERT(waiters_.empty(), "a rate_limiter was destroyed while a task waits for it");
    }

    /// Returns nothing, once it has taken `amount` tokens. They are used up.
    /// Requires: 1 <= amount <= burst (aborts).
    /// Suspends until its turn has come and so many are there, or through the run queue for
    /// fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` none has been taken, and those behind go on
    /// as if this task had never come.
    [[nodiscard("co_await it")]] awaiter take(std::size_t amount = 1) noexcept;
    /// Takes them if that needs no wait. Requires: as take().
    [[nodiscard]] bool try_take(std::size_t amount = 1) noexcept;

private:
    void check_amount(std::size_t amount) const noexcept {
        CORO_ASSERT(amount >= 1 && amount <= burst_,
                    "a rate_limiter was asked for no token, or for more than its burst: that never "
                    "ends");
    }
    /// When so many tokens will be there, if nobody takes any until then. Requires: they are not.
    [[nodiscard]] time_point ready_at(std::size_t amount) const noexcept;
    void refill(time_point present) noexcept;
    [[nodiscard]] CORO_EXPORT bool take_now(std::size_t amount) noexcept;
    CORO_EXPORT void arm() noexcept;
    void serve() noexcept;

    detail::home_loop home_;
    duration between_;  ///< two tokens
    std::size_t burst_;
    std::size_t tokens_;    ///< that are there
    time_point next_{};     ///< when another one comes; of a full bucket: nothing
    detail::intrusive_list<awaiter> waiters_;
    detail::member_timer<&rate_limiter::serve> timer_;
};

class [[nodiscard("co_await it")]] CORO_EXPORT rate_limiter::awaiter final
    : public detail::library_awaiter<rate_limiter::awaiter>,
      public detail::list_node<rate_limiter::awaiter> {
public:
    awaiter(rate_limiter& of, std::size_t amount) noexcept : limiter_(of), amount_(amount) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return limiter_.home_; }
    bool try_now() const noexcept {
        return limiter_.waiters_.empty() && limiter_.take_now(amount_);
    }
    bool start() noexcept {
        limiter_.waiters_.push_back(*this);
        limiter_.arm();
        return true;
    }
    void finish() const noexcept {}

    void cancel_wait() noexcept override;
    void describe(detail::text_sink& out) const noexcept override;

private:
    friend class rate_limiter;
    rate_limiter& limiter_;
    std::size_t amount_;
};

inline rate_limiter::awaiter rate_limiter::take(std::size_t amount) noexcept {
    check_amount(amount);
    return awaiter(*this, amount);
}
inline bool rate_limiter::try_take(std::size_t amount) noexcept {
    home_.check();
    check_amount(amount);
    return waiters_.empty() && take_now(amount);
}

}}  // namespace coro::v0
