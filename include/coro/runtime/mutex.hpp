// mutex: one task at a time, across awaits, in the order in which they came.
#pragma once

#include <cstdint>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/shared_words.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

class condition_variable;

/// Mutual exclusion of tasks. Tasks of one loop never run at the same time: a mutex is for data
/// that must stay whole over a co_await. A std::mutex is best for data that several loops share for
/// a few lines without an await. Unlocking a mutex that is not shared hands it to the task that has
/// waited longest. So it is never free while a task waits, and no task overtakes. Not recursive: a
/// task that locks it twice waits for itself.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may lock()
/// it and unlock; the other members abort there. The first such lock() is a message to the home
/// loop and makes the mutex *shared*, for good. A shared one that is free is taken without a
/// message on any loop. Its queue is at home, and FIFO is the order in which the requests arrive
/// there. When it gets free the first task of the queue is told. Tasks that run may be faster than
/// the news. A waiter that then comes in vain is handed it next. If it is just being handed to
/// another task, that waiter is told once more, and comes in vain at most twice. Destroying it
/// while a task holds it or waits for it aborts. It must outlive the tasks that use it on other
/// loops.
class mutex {
    class awaiter;

public:
    class scoped_lock;

    mutex() noexcept : news_(*this) {}
    mutex(const mutex&) = delete;
    mutex& operator=(const mutex&) = delete;
    ~mutex() {
        CORO_ASSERT(word_.is_free() && told_before_.empty() && waiting_.empty(),
                    "a mutex was destroyed while a task held it or waited for it");
    }

    /// Returns `mutex::scoped_lock`, which unlocks at its end:
    /// `const auto lock = co_await guard.lock();`
    /// Suspends until granted, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled; std::bad_alloc, if there is no memory for a record. The first lock() of
    /// another loop takes one, and each that must wait for a shared mutex. A task that had 32
    /// results at once in this resumption takes one too, even if the mutex is free. Cancel safety:
    /// when it throws the lock has not been taken. The next task in the queue gets it as if this
    /// one had never come.
    [[nodiscard("co_await it")]] awaiter lock() noexcept;

    /// Takes the lock if it is free; otherwise it returns an empty one. Never suspends.
    [[nodiscard("the lock is released at once")]] scoped_lock try_lock() noexcept;

    /// Whether a task holds the lock.
    [[nodiscard]] bool is_locked() const noexcept {
        home_.check();
        return !word_.is_free();
    }

private:
    void unlock() noexcept;
    CORO_EXPORT bool take_shared() noexcept;
    CORO_EXPORT bool take_shared_at_once() noexcept;
    CORO_EXPORT void hand_on() noexcept;
    CORO_EXPORT void hear_news() noexcept;
    awaiter* next_to_tell() noexcept;
    [[nodiscard]] bool tells_nobody() const noexcept;
    [[nodiscard]] detail::lock_word<>::bits rest() const noexcept;

    detail::home_loop home_;
    /// Another loop freed it, or gave it to this loop.
    detail::home_call<&mutex::hear_news> news_;
    detail::lock_word<> word_;
    detail::intrusive_list<awaiter> handed_;  ///< to whom it is handed, in this order
    /// Behind them: those that are told that it is free. First those who were told while it was
    /// handed on.
    detail::intrusive_list<awaiter> told_before_;
    detail::intrusive_list<awaiter> waiting_;
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
    friend class condition_variable;
    explicit scoped_lock(mutex& held) noexcept : held_(&held) {}

    mutex* held_ = nullptr;
};

class [[nodiscard("co_await it")]] CORO_EXPORT mutex::awaiter final
    : public detail::library_awaiter<mutex::awaiter>, public detail::list_node<mutex::awaiter> {
public:
    explicit awaiter(mutex& of) noexcept : mutex_(of) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return mutex_.home_; }
    bool try_now() const noexcept { return mutex_.word_.takes_alone() || try_from_afar(); }
    /// Not beyond the budget: it would be held while all others who are ready run.
    bool try_from_afar() const noexcept {
        return mutex_.word_.is_shared() && loop().inline_budget > 0 && mutex_.take_shared();
    }
    /// Tasks of the home loop wait as guests do once it is shared: they too are told.
    bool needs_agent() const noexcept {
        return mutex_.home_.is_elsewhere() || mutex_.word_.is_shared();
    }
    bool start() noexcept;
    bool begin_by_agent() noexcept;
    void follow_invitation(bool withdrawn) noexcept;
    [[nodiscard]] scoped_lock finish() const noexcept { return scoped_lock(mutex_); }

    void cancel_wait() noexcept override;
    void describe(detail::text_sink& out) const noexcept override;

private:
    friend class mutex;
    void end_invited() noexcept {
        set_outcome(detail::wait_outcome::invited);
        loop().make_ready(strand());
    }

    /// The place that it gets when it comes home.
    enum class place : std::uint8_t { last, first_to_be_told, next };

    mutex& mutex_;
    place place_ = place::last;
    bool asked_ = false;  ///< has been there
};

inline mutex::awaiter mutex::lock() noexcept { return awaiter(*this); }

inline mutex::scoped_lock mutex::try_lock() noexcept {
    home_.check();
    return word_.takes_alone() || take_shared_at_once() ? scoped_lock(*this) : scoped_lock();
}

inline bool mutex::awaiter::start() noexcept {
    static_cast<void>(mutex_.word_.asks_for(detail::lock_word<>::news | detail::lock_word<>::turn));
    mutex_.handed_.push_back(*this);
    return true;
}

inline void mutex::unlock() noexcept {
    if (home_.is_elsewhere()) [[unlikely]] {
        if (word_.frees()) news_.send(home_.loop());
    } else if (!word_.frees_alone()) {
        hand_on();
    }
}

}}  // namespace coro::v0
