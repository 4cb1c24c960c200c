// The turn of the io_uring poller: what wait() does around its one system call, and how others wake
// it. The invariants are at the top of uring_poller.cpp.
#include "poller/uring_poller.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "poller/uring_state.hpp"

namespace coro { inline namespace v0 { namespace detail {

using namespace uring;

namespace {

constexpr unsigned completions_of_a_wait = 1024;  ///< read by one wait()

__kernel_timespec parts_of(duration span) noexcept {
    __kernel_timespec parts{};
    parts.tv_sec = span / std::chrono::seconds(1);
    parts.tv_nsec = (span % std::chrono::seconds(1)).count();
    return parts;
}

}  // namespace

void uring_poller::wait(time_point deadline, operation_list& completed) noexcept {
    ring_.check_ours();
    out_ = &completed;
    completed_before_ = counters.completed;
    while (!ready_.empty()) deliver(*ready_.pop());
    reap();
    if (!refused_.empty()) [[unlikely]] {
        if (now() >= retry_at_) retry_connects();
        if (!refused_.empty()) deadline = std::min(deadline, retry_at_);
    }
    rearm();
    enter_turn(deadline);
    reap();
    for (int round = 0; ring_.overflowed() && round < most_attempts; ++round) {
        ++counters.overflows;
        collect();
        reap();
    }
    if (woken_) ++counters.wakes;
    woken_ = false;
    out_ = nullptr;
}

/// The kernel runs 20 pieces of deferred work in an enter() that does not wait for more (its
/// io_uring/io_uring.c, IO_LOCAL_TW_DEFAULT_MAX); and what is postponed may have come already.
bool uring_poller::has_more() const noexcept {
    return ring_.enter_wanted() || ring_.completion_waiting() || postponed_ != nullptr;
}

void uring_poller::wake() noexcept {
    // After fork(2) the descriptor is still the parent's: a signal handler in the child is silent.
    if (!ring_.is_ours()) return;
    const int saved = errno;
    const std::uint64_t one = 1;
    // EAGAIN: the counter is at 2^64 - 2 (eventfd(2)). Empty it, so that this write is seen too.
    while (::write(wake_descriptor_, &one, sizeof one) < 0) {
        std::uint64_t count = 0;
        if (errno == EAGAIN && ::read(wake_descriptor_, &count, sizeof count) < 0 &&
            errno != EAGAIN) {
            break;
        }
    }
    errno = saved;
}

void uring_poller::on_wake(std::int32_t result, bool ended) noexcept {
    if (result == -EINVAL && wake_multishot_) {
        wake_multishot_ = false;  // before Linux 5.13
    } else {
        woken_ = true;
    }
    if (!ended) return;
    // A new poll looks at the counter first: empty it, or each new one would fire at once.
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t got = ::read(wake_descriptor_, &count, sizeof count);
    wake_armed_ = false;
}

void uring_poller::reap() noexcept {
    ring_.reap(completions_of_a_wait, [this](const io_uring_cqe& done) { dispatch(done); });
}

/// Gives requests to what has lost or not got one.
void uring_poller::rearm() noexcept {
    if (!wake_armed_) [[unlikely]] arm_wake();
    while (postponed_ != nullptr) {
        operation& op = *postponed_;
        const std::uint8_t owed = op.backend_state & owes_something;
        withdraw(op);
        if (owed == owes_cancel) {
            // Making room may have read its completion.
            if (queue_cancel(name_of(op)) || op.phase != operation_phase::submitted) continue;
        } else if (arm(slot_at(op.target.index), op)) {
            continue;
        }
        // No room and no memory at present; completions that came meanwhile are handed out first.
        postpone(op, owed);
        return;
    }
}

void uring_poller::arm_wake() noexcept {
    io_uring_sqe* const entry = take_internal_entry(tag_wake);
    if (entry == nullptr) return;
    entry->opcode = IORING_OP_POLL_ADD;
    entry->fd = wake_descriptor_;
    entry->poll32_events = __io_uring_prep_poll_mask(POLLIN);
    if (wake_multishot_) entry->len = IORING_POLL_ADD_MULTI;
    wake_armed_ = true;
}

/// Whether there is nothing to hand out yet, and a wake() would be noticed.
bool uring_poller::may_wait() const noexcept {
    return counters.completed == completed_before_ && !woken_ && wake_armed_ &&
           postponed_ == nullptr;
}

void uring_poller::enter_turn(time_point deadline) noexcept {
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        __kernel_timespec left_parts{};
        const __kernel_timespec* timeout = nullptr;
        bool waits = deadline == never;
        // The turn's time is in the past: what was due then needs no look at the clock.
        if (!waits && deadline > turn_time && may_wait()) {
            const duration left = deadline - now();
            waits = left > duration::zero();
            if (waits && ring_.has(uring_wait_argument)) {
                left_parts = parts_of(left);
                timeout = &left_parts;
            } else if (waits) {
                waits = arm_timeout(deadline, left);
            }
        }
        waits = waits && may_wait();
        if (!waits && ring_.unsubmitted() == 0 && !ring_.enter_wanted()) return;
        const int answer = enter(waits ? 1 : 0, waits ? timeout : nullptr, true);
        if (answer == -EBUSY || answer == -EAGAIN || answer == -ENOMEM) {
            // The kernel wants room among the completions, or memory, before it takes more.
            collect();
            reap();
            continue;
        }
        // Without SUBMIT_ALL an entry that is refused ends the call before the rest, and the wait.
        if (answer < 0 || ring_.unsubmitted() == 0) return;
    }
}

/// For kernels whose enter() takes no timeout: a timeout request. False when there is no entry.
/// Relative, because the kernel takes an absolute time as one outside of all time namespaces: where
/// time_namespaces(7) move the clock it would never come, or at once.
bool uring_poller::arm_timeout(time_point deadline, duration left) noexcept {
    // One that fires earlier stays: an early return is legal.
    if (timeout_armed_ && timeout_deadline_ <= deadline) return true;
    if (timeout_armed_ && !queue_cancel(timeout_number_ << tag_bits | tag_timeout)) return false;
    timeout_armed_ = false;
    const std::uint64_t number = timeout_number_ + 1;
    io_uring_sqe* const entry = take_internal_entry(number << tag_bits | tag_timeout);
    if (entry == nullptr) return false;
    timeout_number_ = number;
    timeout_armed_ = true;
    timeout_deadline_ = deadline;
    timeout_memory_ = parts_of(left);
    entry->opcode = IORING_OP_TIMEOUT;
    entry->addr = reinterpret_cast<std::uintptr_t>(&timeout_memory_);
    entry->len = 1;
    return true;
}

int uring_poller::enter(unsigned wait_for, const __kernel_timespec* timeout,
                        bool collects) noexcept {
    ++counters.enters;
    if (wait_for != 0) ++counters.waits;
    return ring_.enter(wait_for, timeout, collects);
}

void uring_poller::collect() noexcept {
    ++counters.enters;
    ring_.collect();
}

/// An entry for the caller to fill; nullptr when the kernel takes nothing at present.
io_uring_sqe* uring_poller::take_entry() noexcept {
    if (io_uring_sqe* const entry = ring_.next_entry(); entry != nullptr) [[likely]] return entry;
    ++counters.queue_full;
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        enter(0, nullptr, false);
        if (io_uring_sqe* const entry = ring_.next_entry(); entry != nullptr) return entry;
        collect();
        reap();
    }
    return nullptr;
}

io_uring_sqe* uring_poller::take_internal_entry(std::uint64_t user_data) noexcept {
    io_uring_sqe* const entry = take_entry();
    if (entry == nullptr) return nullptr;
    entry->user_data = user_data;
    ++internal_;
    return entry;
}

bool uring_poller::queue_cancel(std::uint64_t user_data) noexcept {
    io_uring_sqe* const entry = take_internal_entry(tag_ignored);
    if (entry == nullptr) return false;
    entry->opcode = IORING_OP_ASYNC_CANCEL;
    entry->addr = user_data;
    return true;
}

}}}  // namespace coro::v0::detail
