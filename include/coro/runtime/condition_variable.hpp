// condition_variable: tasks that hold a mutex wait until another one has changed what it guards.
#pragma once

#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/mutex.hpp>

namespace coro { inline namespace v0 {

/// Where tasks wait for a condition that holds under a mutex. A task that is woken locks the mutex
/// again. Another may have been before it and have changed the condition, so look again, or give
/// wait() the predicate. A notification of another loop counts when it arrives: it may wake a task
/// that has begun to wait after it was sent.
///
/// Tasks of one loop that need no mutex for their data need no condition_variable either: an event
/// or a channel is simpler.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may wait()
/// and notify, which go there as messages. Destroying it while a task waits aborts. It must outlive
/// the tasks that use it on other loops.
/// See: std::condition_variable.
class condition_variable {
public:
    condition_variable() noexcept : remote_one_(*this), remote_all_(*this) {}
    condition_variable(const condition_variable&) = delete;
    condition_variable& operator=(const condition_variable&) = delete;
    ~condition_variable() {
        CORO_ASSERT(waiters_.empty(),
                    "a condition_variable was destroyed while a task waits for it");
    }

    /// Returns nothing, once it was notified; then the lock is held again. Unlocks, and begins to
    /// wait, in one step: no notification after the unlocking is missed. All waits at one time must
    /// be with locks of the same mutex.
    /// Requires: `lock` holds a mutex (aborts), and outlives the wait.
    /// Suspends until notified, and then until it has the lock; resumes on this loop.
    /// Throws: cancelled, and then too the lock is held: a holder that is never done keeps the task
    /// from ending. std::bad_alloc, as mutex::lock; if the second lock throws it, none is held.
    /// Cancel safety: on `cancelled` no notification was taken from another task.
    [[nodiscard("co_await it or spawn it")]] task<> wait(mutex::scoped_lock& lock) {
        CORO_ASSERT(lock, "condition_variable::wait was given a lock that holds no mutex");
        return wait_and_lock(lock);
    }
    /// Returns nothing: the same until `holds()` is true, which is asked first, with the lock held.
    /// Throws: what `holds` throws, with the lock held.
    template <typename Predicate>
    [[nodiscard("co_await it or spawn it")]] task<> wait(mutex::scoped_lock& lock,
                                                         Predicate holds) {
        CORO_ASSERT(lock, "condition_variable::wait was given a lock that holds no mutex");
        return wait_until(lock, std::move(holds));
    }

    /// Wakes the task that has waited longest; nobody, if none waits. Resumes nobody in place. The
    /// caller may hold the lock, and need not.
    void notify_one() noexcept { notify(1); }
    /// Wakes all that wait now, in the order in which they came.
    CORO_EXPORT void notify_all() noexcept;

private:
    class awaiter;

    template <typename Predicate>
    task<> wait_until(mutex::scoped_lock& lock, Predicate holds) {
        while (!holds()) co_await wait_and_lock(lock);
    }
    CORO_EXPORT task<> wait_and_lock(mutex::scoped_lock& lock);
    CORO_EXPORT void notify(std::size_t tasks) noexcept;

    detail::home_loop home_;
    detail::home_sum<&condition_variable::notify> remote_one_;
    detail::home_call<&condition_variable::notify_all> remote_all_;
    detail::intrusive_list<awaiter> waiters_;
};

}}  // namespace coro::v0
