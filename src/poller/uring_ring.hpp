// One io_uring instance: set-up, the two queues in shared memory, and io_uring_enter(2).
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>

#include "poller/fork_mark.hpp"
#include "poller/uring_abi.hpp"
#include "poller/uring_options.hpp"
#include "runtime/poller.hpp"
#include "runtime/poller_options.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// Requires: open(), every use and the destructor on one thread (IORING_SETUP_SINGLE_ISSUER).
///
/// The ring is mapped don't-fork, and its poller has a mark that fork(2) wipes: a child that uses
/// it aborts with a sentence before it can touch the parent's requests.
class uring_ring {
public:
    uring_ring() = default;
    uring_ring(const uring_ring&) = delete;
    uring_ring& operator=(const uring_ring&) = delete;
    ~uring_ring();

    /// False, and in `why_not` a clause that says what failed, when this kernel, container or
    /// filter does not give what the poller needs. Sends one request through before it says yes.
    /// When memory for rings is short it is waited for a little, and then the rings are smaller;
    /// `why_not` says so.
    bool open(const poller_options& options, const fork_mark& mark, std::string& why_not);
    /// After an open() that failed: the errno.
    [[nodiscard]] int open_error() const noexcept { return open_error_; }

    /// Bit set of uring_feature: those that are there and were not disabled.
    [[nodiscard]] std::uint32_t features() const noexcept { return features_; }
    [[nodiscard]] bool has(uring_feature one) const noexcept { return (features_ & one) != 0; }

    /// False in a child process after fork(2).
    [[nodiscard]] bool is_ours() const noexcept {
        return mark_ != nullptr && mark_->is_ours();
    }
    void check_ours() const noexcept { mark_->check(); }

    // --- submission

    /// A cleared entry, or nullptr when the queue is full; the kernel sees it at the next enter().
    io_uring_sqe* next_entry() noexcept;
    /// Entries that the kernel has not taken yet.
    [[nodiscard]] unsigned unsubmitted() const noexcept { return sq_tail_ - load(sq_head_shared_); }

    // --- completion

    [[nodiscard]] bool completion_waiting() const noexcept {
        return cq_head_ != load(cq_tail_shared_);
    }
    /// Whether only an enter() can bring more: deferred work, or completions that had no room.
    [[nodiscard]] bool enter_wanted() const noexcept {
        return (load(sq_flags_) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
    }
    [[nodiscard]] bool overflowed() const noexcept {
        return (load(sq_flags_) & IORING_SQ_CQ_OVERFLOW) != 0;
    }
    /// Hands at most `most` completions to `take` and frees their places; returns how many.
    template <typename Take>
    unsigned reap(unsigned most, Take take) noexcept {
        const unsigned tail = load(cq_tail_shared_);
        unsigned count = 0;
        for (; cq_head_ != tail && count < most; ++count) {
            const io_uring_cqe& done = cqes_[cq_head_ & cq_mask_];
            ++cq_head_;
            take(done);
        }
        if (count != 0)
            std::atomic_ref(*cq_head_shared_).store(cq_head_, std::memory_order_release);
        return count;
    }

    // --- the system call

    /// Submits what is queued. `wait_for` > 0 waits for so many completions, at most `timeout`
    /// (nullptr: for ever; requires has(uring_wait_argument) otherwise). `collect` runs deferred
    /// work and flushes the overflow list. The number taken, or a negated errno.
    int enter(unsigned wait_for, const __kernel_timespec* timeout, bool collect) noexcept;
    /// Runs deferred work and flushes the overflow list, submits nothing.
    int collect() noexcept;
    /// io_uring_register(2).
    int register_thing(unsigned what, const void* argument, unsigned count) noexcept;

private:
    static unsigned load(unsigned* shared) noexcept {
        return std::atomic_ref(*shared).load(std::memory_order_acquire);
    }
    int set_up(const poller_options& options, io_uring_params& parameters) noexcept;
    int map(const io_uring_params& parameters) noexcept;
    const char* probe() noexcept;
    const char* try_one_request() noexcept;
    void register_descriptor() noexcept;
    unsigned unsubmitted_after_publishing() noexcept;
    void check_caller() const noexcept;

    // hot
    unsigned sq_tail_ = 0;
    unsigned sq_head_ = 0;  ///< as last seen; the kernel's may be ahead
    unsigned sq_mask_ = 0;
    unsigned sq_entries_ = 0;
    io_uring_sqe* sqes_ = nullptr;
    unsigned* sq_head_shared_ = nullptr;
    unsigned* sq_tail_shared_ = nullptr;
    unsigned* sq_flags_ = nullptr;
    unsigned cq_head_ = 0;
    unsigned cq_mask_ = 0;
    io_uring_cqe* cqes_ = nullptr;
    unsigned* cq_head_shared_ = nullptr;
    unsigned* cq_tail_shared_ = nullptr;
    const fork_mark* mark_ = nullptr;
    unsigned enter_descriptor_ = 0;  ///< the ring's, or its number in the thread's registered ones
    unsigned enter_flags_ = 0;
    unsigned wait_flags_ = 0;

    // cold
    std::uint32_t features_ = 0;
    std::thread::id owner_;
    int descriptor_ = -1;
    int open_error_ = EOPNOTSUPP;
    void* rings_ = nullptr;
    std::size_t rings_size_ = 0;
    std::size_t sqes_size_ = 0;
};

}}}  // namespace coro::v0::detail
