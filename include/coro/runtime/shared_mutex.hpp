// shared_mutex: many tasks that read, or one that writes.
#pragma once

#include <cstddef>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

/// A lock that any number of tasks share, or that one has alone. For data that is read across
/// awaits far more often than it is written; else a mutex costs less.
///
/// Fair to writers: first come, first served. A reader that comes behind a waiting writer waits
/// behind it. All readers at the head of the queue go together. A task that shares the lock and
/// asks for more of it may wait for itself.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may lock(),
/// lock_shared() and unlock, which go there as messages; the other members abort there. Destroying
/// it while a task holds it or waits for it aborts. It must outlive the tasks that use it on other
/// loops.
/// See: std::shared_mutex.
class shared_mutex {
    template <bool Alone>
    class held;
    class awaiter;
    template <bool Alone>
    class lock_awaiter;

public:
    /// Hold the lock until their end, or until unlock(), which resumes nobody in place. Move-only;
    /// one moved from is empty.
    using scoped_lock = held<true>;
    using shared_lock = held<false>;

    shared_mutex() noexcept : remote_unlock_(*this), remote_unlock_shared_(*this) {}
    shared_mutex(const shared_mutex&) = delete;
    shared_mutex& operator=(const shared_mutex&) = delete;
    ~shared_mutex() {
        CORO_ASSERT(waiters_.empty(), "a shared_mutex was destroyed while a task waits for it");
        CORO_ASSERT(!alone_ && sharers_ == 0, "a shared_mutex was destroyed while a task held it");
    }

    /// Returns `shared_mutex::scoped_lock`, alone: `const auto lock = co_await guard.lock();`
    /// Suspends until granted, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` the lock has not been taken, and those
    /// behind in the queue are served as if this task had never come.
    [[nodiscard("co_await it")]] lock_awaiter<true> lock() noexcept;
    /// Returns `shared_mutex::shared_lock`, beside others that share it. Otherwise as lock().
    [[nodiscard("co_await it")]] lock_awaiter<false> lock_shared() noexcept;

    /// Take the lock if that needs no wait; otherwise they return an empty one. Never suspend.
    [[nodiscard("the lock is released at once")]] scoped_lock try_lock() noexcept;
    [[nodiscard("the lock is released at once")]] shared_lock try_lock_shared() noexcept;

private:
    /// Without waiting, hence without overtaking.
    [[nodiscard]] bool take(bool alone) noexcept {
        return waiters_.empty() && take_as_first(alone);
    }
    [[nodiscard]] bool take_as_first(bool alone) noexcept {
        if (alone_ || (alone && sharers_ != 0)) return false;
        if (alone) alone_ = true;
        else ++sharers_;
        return true;
    }
    CORO_EXPORT void unlock() noexcept;
    CORO_EXPORT void unlock_shared(std::size_t sharers) noexcept;
    void serve() noexcept;

    detail::home_loop home_;
    detail::home_call<&shared_mutex::unlock> remote_unlock_;
    detail::home_sum<&shared_mutex::unlock_shared> remote_unlock_shared_;
    std::size_t sharers_ = 0;
    bool alone_ = false;
    detail::intrusive_list<awaiter> waiters_;
};

template <bool Alone>
class [[nodiscard("the lock is released at once")]] shared_mutex::held {
public:
    held() noexcept = default;
    held(held&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
    held& operator=(held&& other) noexcept {
        if (this != &other) {
            unlock();
            held_ = std::exchange(other.held_, nullptr);
        }
        return *this;
    }
    ~held() { unlock(); }

    /// Whether it holds a lock.
    [[nodiscard]] explicit operator bool() const noexcept { return held_ != nullptr; }

    void unlock() noexcept {
        if (held_ == nullptr) return;
        shared_mutex& from = *std::exchange(held_, nullptr);
        if constexpr (Alone) from.unlock();
        else from.unlock_shared(1);
    }

private:
    friend class shared_mutex;
    explicit held(shared_mutex& of) noexcept : held_(&of) {}

    shared_mutex* held_ = nullptr;
};

class CORO_EXPORT shared_mutex::awaiter : public detail::library_awaiter<shared_mutex::awaiter>,
                                          public detail::list_node<shared_mutex::awaiter> {
public:
    [[nodiscard]] detail::home_loop& home() const noexcept { return mutex_.home_; }
    bool try_now() const noexcept { return mutex_.take(alone_); }
    bool start() noexcept {
        mutex_.waiters_.push_back(*this);
        return true;
    }
    void finish() const noexcept {}

    void cancel_wait() noexcept override;
    void describe(detail::text_sink& out) const noexcept override;

protected:
    awaiter(shared_mutex& of, bool alone) noexcept : mutex_(of), alone_(alone) {}
    virtual ~awaiter() = default;

    friend class shared_mutex;
    shared_mutex& mutex_;
    const bool alone_;
};

template <bool Alone>
class [[nodiscard("co_await it")]] shared_mutex::lock_awaiter final : public awaiter {
public:
    explicit lock_awaiter(shared_mutex& of) noexcept : awaiter(of, Alone) {}
    [[nodiscard]] held<Alone> await_resume() {
        awaiter::await_resume();
        return held<Alone>(mutex_);
    }
};

inline shared_mutex::lock_awaiter<true> shared_mutex::lock() noexcept {
    return lock_awaiter<true>(*this);
}
inline shared_mutex::lock_awaiter<false> shared_mutex::lock_shared() noexcept {
    return lock_awaiter<false>(*this);
}
inline shared_mutex::scoped_lock shared_mutex::try_lock() noexcept {
    home_.check();
    return take(true) ? scoped_lock(*this) : scoped_lock();
}
inline shared_mutex::shared_lock shared_mutex::try_lock_shared() noexcept {
    home_.check();
    return take(false) ? shared_lock(*this) : shared_lock();
}

}}  // namespace coro::v0
