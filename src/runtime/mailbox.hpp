// mailbox: the messages of other threads to a loop, the handshake that wakes it when it sleeps, and
// the gate that knows whether it lives. Templates over their words, so that
// tests/unit/runtime/mailbox_interleavings_test.cpp can run them in every order; the proof is in
// docs/design/concurrency.md.
#pragma once

#include <atomic>
#include <cstddef>
#include <mutex>
#include <utility>

#include <coro/core/detail/shared_words.hpp>

namespace coro { inline namespace v0 { namespace detail {

struct std_words_and_locks : std_words {
    using mutex = std::mutex;
};

/// Neighbours on one cache line disturb each other: the loop counts in its other members all the
/// time. A post to a loop that turns took 130 ns in bursts of 32, and 31 once it had a line of its
/// own.
inline constexpr std::size_t cache_line = 64;

/// Any thread pushes, the loop takes all. A node belongs to the poster before the push, and to the
/// loop after. It has a member `next`, a pointer to such a node.
template <typename Node, typename Words = std_words>
class alignas(cache_line) mailbox {
    template <typename T>
    using atomic = typename Words::template atomic<T>;

public:
    /// True: the loop sleeps, or is about to, and this thread is the one that must wake it.
    [[nodiscard]] bool push(Node& work) noexcept {
        Node* head = inbox_.load(std::memory_order_relaxed);
        do {
            work.next = head;
        } while (!inbox_.compare_exchange_weak(head, &work, std::memory_order_seq_cst,
                                               std::memory_order_relaxed));
        // The load first: while the loop turns, a post writes one word of it and not two.
        return sleeping_.load(std::memory_order_seq_cst) &&
               sleeping_.exchange(false, std::memory_order_seq_cst);
    }
    /// Around push() and the wake-up by a thread that does not keep the loop alive otherwise than
    /// by the work that it pushes.
    void poster_enters() noexcept { posting_.fetch_add(1, std::memory_order_relaxed); }
    void poster_leaves() noexcept { posting_.fetch_sub(1, std::memory_order_release); }

    // --- the loop

    /// A quick look; may miss what has just been pushed, but not for ever.
    [[nodiscard]] bool holds_something() const noexcept {
        return inbox_.load(std::memory_order_relaxed) != nullptr;
    }
    /// All there is, in the order of arrival.
    [[nodiscard]] Node* take_all() noexcept {
        Node* stack = inbox_.exchange(nullptr, std::memory_order_acquire);
        Node* in_order = nullptr;  // the stack is last in first out: turn it over
        while (stack != nullptr) {
            Node* const rest = stack->next;
            stack->next = in_order;
            in_order = std::exchange(stack, rest);
        }
        return in_order;
    }
    /// True: from now on a poster wakes the loop, and nothing was pushed before. The loop waits,
    /// and says wakes_up() when it does no more.
    [[nodiscard]] bool falls_asleep() noexcept {
        sleeping_.store(true, std::memory_order_seq_cst);
        if (inbox_.load(std::memory_order_seq_cst) == nullptr) return true;
        wakes_up();
        return false;
    }
    void wakes_up() noexcept { sleeping_.store(false, std::memory_order_relaxed); }
    /// Whether a thread that pushed what has been taken may still touch the loop.
    [[nodiscard]] bool has_poster() const noexcept {
        return posting_.load(std::memory_order_acquire) != 0;
    }

private:
    /// Last in first out. Partner: sleeping_.
    atomic<Node*> inbox_{nullptr};
    /// false: running, will look at inbox_ before it sleeps; true: asleep or about to be. The loop
    /// stores true, then looks at inbox_; push() pushes, then exchanges it to false. Of the two at
    /// least one sees the other (all seq_cst), so no work is slept over. At most one thread is told
    /// to wake the loop for each time that it fell asleep.
    atomic<bool> sleeping_{false};
    /// Threads inside of a push that does not keep the loop alive. Each counts itself before it
    /// pushes, so the loop sees it at the latest when it has taken what was pushed.
    atomic<unsigned> posting_{0};
};

/// The way in for threads that are no loop: a lock, because the loop may end at any moment. It
/// outlives the loop. `Loop` has post(work).
template <typename Loop, typename Words = std_words_and_locks>
class basic_loop_gate {
public:
    explicit basic_loop_gate(Loop& loop) noexcept : loop_(&loop) {}

    /// Any thread; false: the loop has ended.
    template <typename Work>
    bool post(Work& work) noexcept {
        const std::lock_guard lock(guard_);
        if (loop_ == nullptr) return false;
        loop_->post(work);
        return true;
    }
    /// The loop, when it takes nothing more from foreign threads. All that came before is in its
    /// inbox.
    void close() noexcept {
        const std::lock_guard lock(guard_);
        loop_ = nullptr;
        closed_.store(true, std::memory_order_release);
    }
    /// For loops of the same run, which live until all have stopped: without the lock.
    [[nodiscard]] bool is_closed() const noexcept {
        return closed_.load(std::memory_order_acquire);
    }
    [[nodiscard]] bool has_ended() const noexcept {
        const std::lock_guard lock(guard_);
        return loop_ == nullptr;
    }

private:
    mutable typename Words::mutex guard_;
    Loop* loop_;
    typename Words::template atomic<bool> closed_{false};
};

}}}  // namespace coro::v0::detail
