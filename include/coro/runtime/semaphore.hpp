// semaphore: a fixed number of permits that tasks hold for a while.
#pragma once

#include <cstddef>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

/// Limits how much happens at once: `count` permits, of which a task acquires one or several and
/// gives them back by destroying its permit. Their number never changes.
///
/// Grants are strictly first come, first served. A large request at the head of the queue waits
/// until enough permits are free. All behind it wait too, even if theirs were free already. So
/// large requests are not starved by small ones.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may
/// acquire() and release permits, which go there as messages; the other members abort there.
/// Destroying it while permits are held, or waited for, aborts.
class semaphore {
    class awaiter;

public:
    class permit;

    /// Requires: count >= 1.
    explicit semaphore(std::size_t count) noexcept
        : remote_release_(*this), available_(count), count_(count) {
        CORO_ASSERT(count > 0, "a semaphore of 0 permits never grants one");
    }
    semaphore(const semaphore&) = delete;
    semaphore& operator=(const semaphore&) = delete;
    ~semaphore() {
        CORO_ASSERT(waiters_.empty(), "a semaphore was destroyed while a task waits for it");
        CORO_ASSERT(available_ == count_, "a semaphore was destroyed before its permits came back");
    }

    /// Returns `semaphore::permit`: `amount` permits as one, given back at its end:
    /// `const auto held = co_await slots.acquire();`
    /// Requires: 1 <= amount <= count().
    /// Suspends until granted, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` no permit has been taken, and those behind
    /// in the queue are served as if this one had never come.
    [[nodiscard("co_await it")]] awaiter acquire(std::size_t amount = 1) noexcept;

    /// Takes `amount` permits if they are free and nobody waits; otherwise it returns none. Never
    /// suspends. Requires: 1 <= amount <= count().
    [[nodiscard("the permits are released at once")]] permit try_acquire(
        std::size_t amount = 1) noexcept;

    /// Permits that nobody holds.
    [[nodiscard]] std::size_t available() const noexcept {
        home_.check();
        return available_;
    }
    /// Permits in all.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }

private:
    void check_amount(std::size_t amount) const noexcept {
        CORO_ASSERT(amount >= 1 && amount <= count_,
                    "acquire of no permit, or of more than the semaphore has: that never ends");
    }
    bool take(std::size_t amount) noexcept;
    void give_back(std::size_t amount) noexcept;
    void serve() noexcept;

    detail::home_loop home_;
    detail::home_sum<&semaphore::give_back> remote_release_;
    std::size_t available_;
    const std::size_t count_;
    detail::intrusive_list<awaiter> waiters_;
};

/// Holds permits of a semaphore until its end, or until release(). Move-only; one moved from is
/// empty.
class [[nodiscard("the permits are released at once")]] semaphore::permit {
public:
    permit() noexcept = default;
    permit(permit&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)), amount_(std::exchange(other.amount_, 0)) {}
    permit& operator=(permit&& other) noexcept {
        if (this != &other) {
            release();
            from_ = std::exchange(other.from_, nullptr);
            amount_ = std::exchange(other.amount_, 0);
        }
        return *this;
    }
    ~permit() { release(); }

    /// Whether it holds anything.
    [[nodiscard]] explicit operator bool() const noexcept { return from_ != nullptr; }
    /// Returns the number of permits that it holds.
    [[nodiscard]] std::size_t amount() const noexcept { return amount_; }

    /// Gives all of them back early; does nothing when empty. Resumes nobody in place.
    void release() noexcept {
        if (from_ != nullptr)
            std::exchange(from_, nullptr)->give_back(std::exchange(amount_, 0));
    }

private:
    friend class semaphore;
    permit(semaphore& from, std::size_t amount) noexcept : from_(&from), amount_(amount) {}

    semaphore* from_ = nullptr;
    std::size_t amount_ = 0;
};

class [[nodiscard("co_await it")]] CORO_EXPORT semaphore::awaiter final
    : public detail::library_awaiter<semaphore::awaiter>,
      public detail::list_node<semaphore::awaiter> {
public:
    awaiter(semaphore& of, std::size_t amount) noexcept : semaphore_(of), amount_(amount) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return semaphore_.home_; }
    bool try_now() const noexcept { return semaphore_.take(amount_); }
    bool start() noexcept {
        semaphore_.waiters_.push_back(*this);
        return true;
    }
    [[nodiscard]] permit finish() const noexcept { return permit(semaphore_, amount_); }

    void cancel_wait() noexcept override;
    void describe(detail::text_sink& out) const noexcept override;

private:
    friend class semaphore;
    semaphore& semaphore_;
    std::size_t amount_;
};

inline semaphore::awaiter semaphore::acquire(std::size_t amount) noexcept {
    check_amount(amount);
    return awaiter(*this, amount);
}

inline semaphore::permit semaphore::try_acquire(std::size_t amount) noexcept {
    home_.check();
    check_amount(amount);
    return take(amount) ? permit(*this, amount) : permit();
}

/// Without waiting, hence without overtaking.
inline bool semaphore::take(std::size_t amount) noexcept {
    if (!waiters_.empty() || amount > available_) return false;
    available_ -= amount;
    return true;
}

inline void semaphore::give_back(std::size_t amount) noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_release_.send(home_.loop(), amount);
    available_ += amount;
    serve();
}

/// Grants from the head of the queue for as long as the permits last. A grant may withdraw another
/// wait of the queue (a sibling in when_any) and so come here again: all is settled before it.
inline void semaphore::serve() noexcept {
    for (awaiter* first = waiters_.front(); first != nullptr && first->amount_ <= available_;
         first = waiters_.front()) {
        first->unlink();
        available_ -= first->amount_;
        first->end_granted();
    }
}

}}  // namespace coro::v0
