// The words that threads share are templates over the type of an atomic. Here that is std::atomic.
// In the tests it is a model of memory that tries out every order in which threads may see each
// other (tests/support/interleavings.hpp). docs/design/concurrency.md has all words.
#pragma once

#include <atomic>
#include <cstdint>

namespace coro { inline namespace v0 { namespace detail {

struct std_words {
    template <typename T>
    using atomic = std::atomic<T>;
};

/// Whether a message that its sender owns is under way. A message under way stands for all that
/// would follow until it arrives. The sender of news that need not post has written them before the
/// arrival.
template <typename Words = std_words>
class message_flag {
public:
    /// True: the caller must post it. The loop that acts after arrives() of the message that is
    /// under way now sees all that was written before this call.
    [[nodiscard]] bool sets_out() noexcept {
        return !under_way_.exchange(true, std::memory_order_acq_rel);
    }
    /// Not a store. A sender that relied on this message wrote its news before its exchange. This
    /// exchange must see the news, or that sender must see that it has to send another message.
    void arrives() noexcept { under_way_.exchange(false, std::memory_order_acq_rel); }
    [[nodiscard]] bool is_under_way() const noexcept {
        return under_way_.load(std::memory_order_acquire);
    }

private:
    typename Words::template atomic<bool> under_way_{false};
};

/// The home of an object: the id of a loop, settled by the first user. The home is settled anew
/// only when the run of that loop has ended. No id comes a second time, so an exchange against the
/// id that was found is against that home.
template <typename Id, typename Words = std_words>
class settled_home {
public:
    explicit settled_home(Id home) noexcept : home_(home) {}

    /// Id(): not settled yet. A reader that finds a home here also finds that its run has begun.
    [[nodiscard]] Id get() const noexcept { return home_.load(std::memory_order_acquire); }
    /// Makes `mine` the home in place of `found`; false, and the home in `found`, if another loop
    /// was first.
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

/// The owner of a job that one thread executes, and that another one waits for and may leave
/// behind. Of `ended` and `abandoned` one comes first, by one exchange each. The second side knows
/// that it is second, and owns the job: the waiter reads the result, or the thread frees the job.
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

/// The word of a lock that tasks of several loops want. It belongs to its home loop alone until a
/// task of another one comes there to wait. Until then only that loop writes it, by plain stores.
/// From then on it is shared for good, and a task that finds it free takes it on its own loop. The
/// queue of those who wait is at home, and only the home loop says here that there is one.
template <typename Words = std_words>
class lock_word {
public:
    using bits = std::uint32_t;
    static constexpr bits held = 1;    ///< by a task, or on its way to one
    static constexpr bits given = 2;   ///< to the home loop, which hands it on; a message says so
    static constexpr bits shared = 4;  ///< loops other than the home may take it
    static constexpr bits news = 8;    ///< a task waits: the holder tells the home loop
    static constexpr bits turn = 16;   ///< a waiter is to be handed it: the holder gives it there

    /// How a holder signs, so that no task looks in vain at a lock that its own loop holds. A lock
    /// that is on its way to a waiter is not signed.
    [[nodiscard]] static constexpr bits signed_by(unsigned loop) noexcept {
        return (loop + 1) << signature_shift;
    }

    // --- any loop

    [[nodiscard]] bool is_shared() const noexcept {
        return (word_.load(std::memory_order_relaxed) & shared) != 0;
    }
    [[nodiscard]] bool is_free() const noexcept {
        return (word_.load(std::memory_order_relaxed) & (held | given)) == 0;
    }
    /// True: it was free and shared, and is the caller's now.
    [[nodiscard]] bool takes(bits signature) noexcept {
        bits is = word_.load(std::memory_order_relaxed);
        while ((is & (held | given | shared)) == shared)
            if (word_.compare_exchange_weak(is, is | held | signature, std::memory_order_acquire,
                                            std::memory_order_relaxed))
                return true;
        return false;
    }
    /// Whether it may soon be free: another task runs with it, and need not hand it on.
    [[nodiscard]] bool is_worth_a_look(bits signature) const noexcept {
        const bits is = word_.load(std::memory_order_relaxed);
        const bits holder = is >> signature_shift;
        return (is & turn) == 0 && holder != 0 && holder != signature >> signature_shift;
    }
    /// Whether it went to a waiter, or is to.
    [[nodiscard]] bool is_handed_on() const noexcept {
        const bits is = word_.load(std::memory_order_relaxed);
        return (is & turn) != 0 || ((is & held) != 0 && is >> signature_shift == 0);
    }
    /// The holder, on another loop than the home. True: the home loop must be told.
    [[nodiscard]] bool frees() noexcept {
        bits is = word_.load(std::memory_order_relaxed);
        for (;;) {
            const bool hands_on = (is & (shared | turn)) != shared;
            const bits left = (is & (shared | news | turn)) | (hands_on ? given : 0);
            if (word_.compare_exchange_weak(is, left, std::memory_order_release,
                                            std::memory_order_relaxed))
                return hands_on || (is & news) != 0;
        }
    }

    // --- the home loop

    /// True: it was free, and nobody but this loop knows it.
    [[nodiscard]] bool takes_alone() noexcept {
        if (word_.load(std::memory_order_relaxed) != 0) return false;
        word_.store(held, std::memory_order_relaxed);
        return true;
    }
    /// The holder. True: done, for nobody but this loop knows it, and nobody waits.
    [[nodiscard]] bool frees_alone() noexcept {
        if (word_.load(std::memory_order_relaxed) != held) return false;
        word_.store(0, std::memory_order_relaxed);
        return true;
    }
    void becomes_shared() noexcept {
        if (!is_shared()) change(0, shared);
    }
    /// Leaves a request for the task that frees it. False: it is free already.
    [[nodiscard]] bool asks_for(bits what) noexcept {
        bits is = word_.load(std::memory_order_relaxed);
        while ((is & (held | given)) != 0)
            if (word_.compare_exchange_weak(is, is | what, std::memory_order_relaxed,
                                            std::memory_order_relaxed))
                return true;
        return false;
    }
    /// Whether the holder gave it to this loop.
    [[nodiscard]] bool is_given() const noexcept {
        return (word_.load(std::memory_order_acquire) & given) != 0;
    }
    /// It is this loop's, and goes to the next waiter. `rest`: the requests for those behind.
    void goes_on(bits rest) noexcept { is_this_loops(held | rest); }
    /// It is this loop's, and gets free.
    void gets_free(bits rest) noexcept { is_this_loops(rest); }
    /// Nobody waits any more.
    void asks_for_nothing() noexcept { change(news | turn, 0); }

private:
    static constexpr unsigned signature_shift = 8;

    /// Nobody else writes a word that is held or given by this loop.
    void is_this_loops(bits next) noexcept {
        word_.store((word_.load(std::memory_order_relaxed) & shared) | next,
                    std::memory_order_release);
    }
    void change(bits without, bits with) noexcept {
        bits is = word_.load(std::memory_order_relaxed);
        while (!word_.compare_exchange_weak(is, (is & ~without) | with, std::memory_order_acq_rel,
                                            std::memory_order_relaxed)) {
        }
    }

    typename Words::template atomic<bits> word_{0};
};

}}}  // namespace coro::v0::detail
