// event: a flag that tasks wait for; it stays set until it is reset.
#pragma once

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

/// A flag with waiters. set() lets every task pass, now and later, until reset().
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may wait()
/// and set(), which go there as messages; the other members abort there. Destroying it while a task
/// waits aborts; a task that set() has let pass no longer needs it.
class event {
    class awaiter;

public:
    event() noexcept : remote_set_(*this) {}
    event(const event&) = delete;
    event& operator=(const event&) = delete;
    ~event() { CORO_ASSERT(waiters_.empty(), "an event was destroyed while a task waits for it"); }

    /// Sets the flag and makes all waiting tasks ready, in the order in which they came. Resumes
    /// nobody in place. A reset() right after it takes the flag back, but not what was granted.
    void set() noexcept;
    /// Takes the flag back: later waits wait. Does nothing if it is not set.
    void reset() noexcept {
        home_.check();
        set_ = false;
    }
    [[nodiscard]] bool is_set() const noexcept {
        home_.check();
        return set_;
    }

    /// Returns nothing, once the flag is set; goes on at once if it is.
    /// Suspends until set(), or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: nothing to lose; the flag is not changed.
    [[nodiscard("co_await it")]] awaiter wait() noexcept;

private:
    detail::home_loop home_;
    detail::home_call<&event::set> remote_set_;
    bool set_ = false;
    detail::intrusive_list<awaiter> waiters_;
};

class [[nodiscard("co_await it")]] CORO_EXPORT event::awaiter final
    : public detail::library_awaiter<event::awaiter>, public detail::list_node<event::awaiter> {
public:
    explicit awaiter(event& of) noexcept : event_(of) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return event_.home_; }
    bool try_now() const noexcept { return event_.set_; }
    bool start() noexcept {
        event_.waiters_.push_back(*this);
        return true;
    }
    void finish() const noexcept {}  // the event may be gone

    void cancel_wait() noexcept override;
    void describe(detail::text_sink& out) const noexcept override;

private:
    friend class event;
    event& event_;
};

inline void event::set() noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_set_.send(home_.loop());
    set_ = true;
    // A grant may withdraw another wait of this list (a sibling in when_any): always ask for the
    // first.
    while (awaiter* first = waiters_.pop_front()) first->end_granted();
}

inline event::awaiter event::wait() noexcept { return awaiter(*this); }

}}  // namespace coro::v0
