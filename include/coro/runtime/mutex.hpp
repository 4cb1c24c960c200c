// mutex: one task at a time, across awaits, in the order in which they came.
#pragma once

#include <utility>

#include <coro/base/assert.hpp>
#include <coro/base/intrusive_list.hpp>
#include <coro/core/wait.hpp>

namespace coro::inline v0 {

/// Mutual exclusion of tasks. Tasks of one loop never run at the same time: a mutex is for what
/// must stay whole over a co_await. Unlocking hands the lock to the task that has waited longest,
/// so it is never free while somebody waits, and nobody overtakes. Not recursive: a task that locks
/// it twice waits for itself.
///
/// Belongs to the loop on which it was made (outside of run(), or when its run has ended: that of
/// the task that first uses it). Tasks of other loops of the run may lock() it and unlock, which go
/// there as messages; the other members abort there. FIFO is the order in which the requests
/// arrive. Destroying it while it is held, or waited for, aborts.
class mutex {
    class awaiter;

public:
    class scoped_lock;

    mutex() noexcept : remote_unlock_(*this) {}
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex() {
        CORO_ASSERT(!locked_, "a mutex was destroyed while a task held it or waited for it");
    }

    /// Returns `mutex::scoped_lock`, which unlocks at its end:
    /// `const auto lock = co_await guard.lock();`
    /// Suspends until granted, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` the lock has not been taken, and the next
    /// task in the queue gets it as if this one had never come.
    [[nodiscard("co_await it")]] awaiter lock() noexcept;

    /// Takes the lock if it is free; otherwise what it returns is empty. Never suspends.
    [[nodiscard("the lock is released at once")]] scoped_lock try_lock() noexcept;

    /// Whether somebody holds the lock.
    [[nodiscard]] bool is_locked() const noexcept {
        home_.check();
        return locked_;
    }

private:
    void unlock() noexcept;

    /// There is one holder, hence at most one of these under way.
    struct unlock_message : detail::home_message {
        explicit unlock_message(mutex& of) noexcept
            : home_message([](home_message& self) noexcept {
                  static_cast<unlock_message&>(self).owner.unlock();
              }),
              owner(of) {}
        mutex& owner;
    };

    detail::home_loop home_;
    unlock_message remote_unlock_;
    bool locked_ = false;  ///< true also while it passes from hand to hand
    detail::intrusive_list<awaiter> waiters_;
};

/// Holds the lock of a mutex until its end, or until unlock(). Move-only; one moved from is empty.
class [[nodiscard("the lock is released at once")]] mutex::scoped_lock {
public:
    scoped_lock() noexcept = default;
    scoped_lock(scoped_lock&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
    scoped_lock& operator=(scoped_lock&& other) noexcept {
        if (this != &other) {
            unlock();
            held_ = std::exchange(other.held_, nullptr);
        }
        return *this;
    }
    ~scoped_lock() { unlock(); }

    /// Whether it holds a lock.
    [[nodiscard]] explicit operator bool() const noexcept { return held_ != nullptr; }

    /// Gives the lock back early; does nothing when empty. Resumes nobody in place.
    void unlock() noexcept {
        if (held_ != nullptr) std::exchange(held_, nullptr)->unlock();
    }

private:
    friend class mutex;
    explicit scoped_lock(mutex& held) noexcept : held_(&held) {}

    mutex* held_ = nullptr;
};

class [[nodiscard("co_await it")]] mutex::awaiter final
    : public detail::library_wait<mutex::awaiter>, public detail::list_node<mutex::awaiter> {
public:
    explicit awaiter(mutex& of) noexcept : mutex_(of) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return mutex_.home_; }
    bool try_now() const noexcept { return !std::exchange(mutex_.locked_, true); }
    bool start() noexcept {
        mutex_.waiters_.push_back(*this);
        return true;
    }
    [[nodiscard]] scoped_lock finish() const noexcept { return scoped_lock(mutex_); }

    void cancel_wait() noexcept override {
        unlink();
        end_cancelled();
    }
    void describe(detail::text_sink& out) const noexcept override { out.write("lock mutex"); }

private:
    friend class mutex;
    mutex& mutex_;
};

inline mutex::awaiter mutex::lock() noexcept { return awaiter(*this); }

inline mutex::scoped_lock mutex::try_lock() noexcept {
    home_.check();
    return std::exchange(locked_, true) ? scoped_lock() : scoped_lock(*this);
}

inline void mutex::unlock() noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_unlock_.send(home_.loop());
    if (awaiter* first = waiters_.pop_front()) first->end_granted();
    else locked_ = false;
}

}  // namespace coro::inline v0
