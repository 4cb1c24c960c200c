// The words that threads share are templates over what they are made of: std::atomic here, and in
// the tests a model of memory that tries out every order in which threads may see each other
// (tests/support/interleavings.hpp). Which words there are: docs/design/concurrency.md.
#pragma once

#include <atomic>
#include <cstdint>

namespace coro::inline v0::detail {

struct std_words {
    template <typename T>
    using atomic = std::atomic<T>;
};

/// Whether a message that its sender owns is under way. One that is stands for all that would
/// follow until it arrives: whoever was told that need not post found his news before the arrival.
template <typename Words = std_words>
class message_flag {
public:
    /// True: the caller must post it. What was written before this call is seen by who acts after
    /// arrives() of the message that is under way now.
    [[nodiscard]] bool sets_out() noexcept {
        return !under_way_.exchange(true, std::memory_order_acq_rel);
    }
    /// Not a store: who relied on this message wrote what he announces before his exchange, and
    /// this one must see it, or he must see that he has to send another.
    void arrives() noexcept { under_way_.exchange(false, std::memory_order_acq_rel); }
    [[nodiscard]] bool is_under_way() const noexcept {
        return under_way_.load(std::memory_order_acquire);
    }

private:
    typename Words::template atomic<bool> under_way_{false};
};

/// Where something lives, settled once by who comes first, and the number of the run in which that
/// was. All who may come first are of one run.
template <typename Loop, typename Words = std_words>
class settled_home {
public:
    settled_home(Loop* home, std::uint64_t run) noexcept : home_(home), run_(run) {}

    /// nullptr: not settled yet.
    [[nodiscard]] Loop* get() const noexcept { return home_.load(std::memory_order_acquire); }
    /// Requires: get() has returned a home on this thread.
    [[nodiscard]] Loop* known() const noexcept { return home_.load(std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t run() const noexcept {
        return run_.load(std::memory_order_relaxed);
    }
    /// Makes `mine` the home; false, and the home in `other`, which was nullptr, if somebody was
    /// first.
    bool settle(Loop*& other, Loop* mine, std::uint64_t run) noexcept {
        run_.store(run, std::memory_order_relaxed);
        return home_.compare_exchange_strong(other, mine, std::memory_order_acq_rel,
                                             std::memory_order_acquire);
    }

private:
    typename Words::template atomic<Loop*> home_;
    typename Words::template atomic<std::uint64_t> run_;  ///< beside it: the loop may have gone
};

/// Who owns a job that one thread executes and another one waits for, and may leave behind. Of
/// `ended` and `abandoned` one comes first, by one exchange each; who comes second knows that, and
/// the job is his: the waiter reads the result, or the thread frees what nobody waits for.
template <typename Words = std_words>
class job_state {
public:
    /// The thread, at the end. False: it was abandoned, and is the thread's to free.
    [[nodiscard]] bool ends() noexcept {
        return state_.exchange(state::ended, std::memory_order_acq_rel) != state::abandoned;
    }
    /// The waiter, at most once. False: it has ended, and the result is there or on its way.
    [[nodiscard]] bool is_abandoned() noexcept {
        return state_.exchange(state::abandoned, std::memory_order_acq_rel) != state::ended;
    }

private:
    enum class state : std::uint8_t { under_way, ended, abandoned };
    typename Words::template atomic<state> state_{state::under_way};
};

}  // namespace coro::inline v0::detail
