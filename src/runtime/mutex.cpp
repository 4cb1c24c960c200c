// A mutex that tasks of several loops use: taken where a task runs, waited for at home.
#include <coro/runtime/mutex.hpp>

namespace coro { inline namespace v0 {
namespace {

using lock_word = detail::lock_word<>;

/// How often a task looks whether the lock gets free, before it goes home to wait. The number was
/// not swept. With its pause a look took 20 to 30 ns where it was measured, so all of them about 1
/// µs. That is what they may cost in vain, before the two messages of a wait.
constexpr int looks = 40;

/// Tells the processor that this is a loop that waits.
void relax() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

lock_word::bits signature() noexcept {
    return detail::current != nullptr ? lock_word::signed_by(detail::current->index) : 0;
}

}  // namespace

bool mutex::take_shared() noexcept {
    const lock_word::bits mine = signature();
    for (int left = looks; !word_.takes(mine); --left) {
        if (left == 0 || !word_.is_worth_a_look(mine)) return false;
        relax();
    }
    return true;
}

bool mutex::take_shared_at_once() noexcept { return word_.takes(signature()); }

bool mutex::tells_nobody() const noexcept { return told_before_.empty() && waiting_.empty(); }

mutex::awaiter* mutex::next_to_tell() noexcept {
    awaiter* const first = told_before_.pop_front();
    return first != nullptr ? first : waiting_.pop_front();
}

/// The requests to the holder for those that wait now.
lock_word::bits mutex::rest() const noexcept {
    if (!handed_.empty()) return lock_word::news | lock_word::turn;
    return tells_nobody() ? 0 : lock_word::news;
}

/// The lock is this loop's. A waiter that is told that it is free may find that another task was
/// faster. But while the news travel no other task would have it.
void mutex::hand_on() noexcept {
    if (awaiter* next = handed_.pop_front()) {
        word_.goes_on(rest());
        return next->end_granted();
    }
    awaiter* const told = next_to_tell();
    word_.gets_free(rest());
    if (told != nullptr) told->end_invited();
}

/// A waiter that is told comes also if another task has taken it meanwhile: follow_invitation()
/// then finds that it was passed over.
void mutex::hear_news() noexcept {
    if (word_.is_given()) return hand_on();
    if (!handed_.empty()) return;  // who has it gives it to this loop
    if (awaiter* told = next_to_tell()) told->end_invited();
    if (tells_nobody()) word_.asks_for_nothing();
}

/// At home. A waiter that finds it free is told so, as nobody else would have it on the way. But it
/// is taken for one that was passed over. Where it is free and others wait, one of them was told or
/// is about to be.
bool mutex::awaiter::begin_by_agent() noexcept {
    lock_word& word = mutex_.word_;
    word.becomes_shared();
    asked_ = true;
    if (place_ != place::next) {
        if (!word.asks_for(lock_word::news) && mutex_.tells_nobody()) {
            set_outcome(detail::wait_outcome::invited);
            return false;
        }
        (place_ == place::last ? mutex_.waiting_ : mutex_.told_before_).push_back(*this);
        return true;
    }
    while (!word.takes(0)) {
        if (!word.asks_for(lock_word::news | lock_word::turn)) continue;
        mutex_.handed_.push_back(*this);
        return true;
    }
    set_outcome(detail::wait_outcome::done);
    return false;
}

/// Tries in any case: if it is free, and others wait, nobody else is told. A waiter that is late
/// because the lock was handed on does not count as passed over. That holds only once: a third task
/// may have been before that. (If it counted at once, hand-overs would breed: while one is under
/// way all that were told come in vain.)
void mutex::awaiter::follow_invitation(bool withdrawn) noexcept {
    using outcome = detail::wait_outcome;
    while (!mutex_.take_shared()) {
        const bool handed_on = mutex_.word_.is_handed_on();
        if (mutex_.word_.is_free() && mutex_.word_.is_shared()) continue;
        const bool is_excused = handed_on && place_ == place::last;
        if (asked_) place_ = is_excused ? place::first_to_be_told : place::next;
        return set_outcome(withdrawn ? outcome::cancelled : outcome::none);
    }
    set_outcome(outcome::done);
}

void mutex::awaiter::cancel_wait() noexcept {
    unlink();
    end_cancelled();
}
void mutex::awaiter::describe(detail::text_sink& out) const noexcept { out.write("lock mutex"); }

}}  // namespace coro::v0
