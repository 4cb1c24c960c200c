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

/// Where something lives: the id of a loop, settled by who comes first. The home is settled anew
/// only when the run of that loop has ended. No id comes a second time, so an exchange against the
/// id that was found is against that home.
template <typename Id, typename Words = std_words>
class settled_home {
public:
    explicit settled_home(Id home) noexcept : home_(home) {}

    /// Id(): not settled yet. Who finds a home here also finds that its run has begun.
    [[nodiscard]] Id get() const noexcept { return home_.load(std::memory_order_acquire); }
    /// Makes `mine` the home in place of `found`; false, and the home in `found`, if somebody was
    /// first.
    bool settle(Id& found, Id mine) noexcept {
        return home_.compare_exchange_strong(found, mine, std::memory_order_acq_rel,
                                             std::memory_order_acquire);
    }

private:
    typename Words::template atomic<Id> home_;
};

/// A place in the list of the runs that live. It holds the number of one of them, or 0.
template <typename Words = std_words>
class live_run {
public:
    /// False: the place is taken.
    [[nodiscard]] bool begins(std::uint64_t run) noexcept {
        std::uint64_t none = 0;
        return run_.compare_exchange_strong(none, run, std::memory_order_acq_rel,
                                            std::memory_order_relaxed);
    }
    void ends() noexcept { run_.store(0, std::memory_order_release); }
    /// Where it was `run` once and is no more, all that this run did has happened before.
    [[nodiscard]] bool is(std::uint64_t run) const noexcept {
        return run_.load(std::memory_order_acquire) == run;
    }

private:
    typename Words::template atomic<std::uint64_t> run_{0};
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
