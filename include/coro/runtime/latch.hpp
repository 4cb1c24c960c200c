// latch: tasks wait until something has happened a number of times.
#pragma once

#include <cstddef>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

/// Counts down to 0, and lets every task pass from then on. For one use: it never counts up. A
/// barrier is for several rounds, a task_group for tasks that end.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may wait(),
/// count_down() and arrive_and_wait(), which go there as messages; is_open() aborts there.
/// Destroying it while a task waits aborts. It must outlive the tasks that use it on other loops.
/// See: std::latch.
class latch {
    class awaiter;

public:
    /// With 0 it is open from the start.
    explicit latch(std::size_t count) noexcept : remote_count_(*this), left_(count) {}
    latch(const latch&) = delete;
    latch& operator=(const latch&) = delete;
    ~latch() { CORO_ASSERT(waiters_.empty(), "a latch was destroyed while a task waits for it"); }

    /// Takes `amount` off the count. At 0 all waiting tasks become ready, in the order in which
    /// they came. Resumes nobody in place. Requires: amount <= what is left (aborts).
    void count_down(std::size_t amount = 1) noexcept;
    [[nodiscard]] bool is_open() const noexcept {
        home_.check();
        return left_ == 0;
    }

    /// Returns nothing, once the count is 0; goes on at once if it is.
    /// Suspends until then, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: nothing to lose.
    [[nodiscard("co_await it")]] awaiter wait() noexcept;
    /// Returns nothing: counts down, at the call, and waits as wait(). Cancel safety: it has
    /// counted in any case.
    [[nodiscard("co_await it")]] awaiter arrive_and_wait(std::size_t amount = 1) noexcept;

private:
    detail::home_loop home_;
    detail::home_sum<&latch::count_down> remote_count_;
    std::size_t left_;
    detail::intrusive_list<awaiter> waiters_;
};

class [[nodiscard("co_await it")]] CORO_EXPORT latch::awaiter final
    : public detail::library_awaiter<latch::awaiter>, public detail::list_node<latch::awaiter> {
public:
    explicit awaiter(latch& of) noexcept : latch_(of) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return latch_.home_; }
    bool try_now() const noexcept { return latch_.left_ == 0; }
    bool start() noexcept {
        latch_.waiters_.push_back(*this);
        return true;
    }
    void finish() const noexcept {}  // the latch may be gone

    void cancel_wait() noexcept override;
    void describe(detail::text_sink& out) const noexcept override;

private:
    friend class latch;
    latch& latch_;
};

inline void latch::count_down(std::size_t amount) noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_count_.send(home_.loop(), amount);
    CORO_ASSERT(amount <= left_, "a latch was counted down below 0");
    left_ -= amount;
    if (left_ != 0) return;
    // A grant may withdraw another wait of this list (a sibling in when_any): always ask for the
    // first.
    while (awaiter* first = waiters_.pop_front()) first->end_granted();
}

inline latch::awaiter latch::wait() noexcept { return awaiter(*this); }
inline latch::awaiter latch::arrive_and_wait(std::size_t amount) noexcept {
    count_down(amount);
    return wait();
}

}}  // namespace coro::v0
