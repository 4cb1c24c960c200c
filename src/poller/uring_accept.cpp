// Accepting by io_uring: a multishot request in the listener's slot, and what it brought before
// anybody asked.
//
// The multishot is armed by an accept that finds nothing prefetched, and stays. It ends (a CQE
// without F_MORE) by an error such as EMFILE, by a full completion queue, or by our cancel; it is
// armed again only when an accept has to wait, so an error is never retried in a loop. An error
// that came while nobody waited is dropped: the connection is still in the listener's queue, and
// the next accept meets the same error, or not, if its cause is gone.
#include "poller/uring_poller.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <new>

#include <coro/base/assert.hpp>

#include "poller/kernel_order.hpp"
#include "poller/uring_state.hpp"

namespace coro::inline v0::detail {

using namespace uring;

/// Answers at once from what is prefetched; false when there is nothing.
bool uring_poller::answer_prefetched(socket_slot& slot, operation& op) noexcept {
    if (slot.prefetched == nullptr || slot.prefetched->empty()) return false;
    std::vector<int>& waiting = *slot.prefetched;
    const std::int32_t result = hand_out(slot, op, waiting.front());
    if (result == 0) waiting.erase(waiting.begin());
    return answer(op, result);
}

/// Makes `op` wait for the slot's multishot; false when there is no entry to arm it.
bool uring_poller::arm_multishot(socket_slot& slot, operation& op) noexcept {
    if (!slot.multishot_armed) {
        io_uring_sqe* const entry = take_internal_entry(name_of_multishot(slot));
        if (entry == nullptr) return false;
        entry->opcode = IORING_OP_ACCEPT;
        entry->fd = slot.descriptor;
        entry->ioprio = IORING_ACCEPT_MULTISHOT;
        entry->accept_flags = accept_flags;
        slot.multishot_armed = true;
        ++slot.in_flight;
    }
    op.backend_state |= in_slot;
    return true;
}

void uring_poller::on_multishot(std::uint64_t name, std::int32_t result,
                                std::uint32_t flags) noexcept {
    socket_slot& slot = slot_at(static_cast<std::uint32_t>(name) >> tag_bits);
    CORO_ASSERT(slot.open && slot.generation == name >> 32,
                "a listener was freed while its multishot accept was armed");
    const bool ended = (flags & IORING_CQE_F_MORE) == 0;
    if (ended) {
        slot.multishot_armed = false;
        slot.multishot_cancelling = false;
        --slot.in_flight;
    }
    operation* const op = slot.receiver;
    const bool awaited = op != nullptr && (op->backend_state & in_slot) != 0;
    if (result >= 0) {
        if (awaited) {
            settle(*op, on_one_shot(slot, *op, result));
        } else {
            prefetch(slot, result);
        }
    } else if (awaited && (is_no_answer(result) || lost_connection(-result))) {
        if (ended) {
            op->backend_state &= static_cast<std::uint8_t>(~in_slot);
            postpone(*op, owes_request);
        }
    } else if (awaited) {
        settle(*op, result);
    }
    if (ended && slot.closing) free_if_left(slot);
}

/// Cancels the multishot and waits for its last word, which comes with the same enter(). False when
/// it has not come: then it comes by a later wait().
bool uring_poller::end_multishot(socket_slot& slot) noexcept {
    if (!slot.multishot_armed) return true;
    if (!slot.multishot_cancelling) {
        slot.multishot_cancelling = queue_cancel(name_of_multishot(slot));
    }
    constexpr int most_enters = 4;
    for (int i = 0; slot.multishot_armed && i < most_enters; ++i) {
        enter(0, nullptr, true);
        reap();
    }
    return !slot.multishot_armed;
}

/// The last look of an accept that does not wait. The multishot alone does not tell: its entry may
/// not have been submitted, deferred work of it may wait to be collected, and one that a full
/// completion queue (or the cancel at most_prefetched) has ended looks no more. So what it has
/// brought is read, and then the listener is asked.
void uring_poller::take_waiting(socket_slot& slot, operation& op) noexcept {
    for (int round = 0; round < most_attempts; ++round) {
        reap();
        if ((op.backend_state & settled) != 0) return;
        if (!ring_.enter_wanted()) break;
        collect();
    }
    int descriptor = -1;
    for (int tries = 0; tries < most_attempts; ++tries) {
        descriptor = ::accept4(slot.descriptor, nullptr, nullptr, accept_flags);
        if (descriptor >= 0 || (errno != EINTR && !lost_connection(errno))) break;
    }
    if (descriptor < 0 && is_no_answer(-errno)) return;  // nobody; abandon() says so
    const std::int32_t result = descriptor < 0 ? -errno : on_one_shot(slot, op, descriptor);
    if ((op.backend_state & owes_something) != 0) withdraw(op);
    settle(op, result);
}

/// `descriptor` was accepted for `op`; the result of `op`.
std::int32_t uring_poller::on_one_shot(socket_slot& slot, operation& op,
                                       std::int32_t descriptor) noexcept {
    const std::int32_t result = hand_out(slot, op, descriptor);
    if (result != 0) prefetch(slot, descriptor);
    return result;
}

std::int32_t uring_poller::hand_out(const socket_slot& listener, operation& op,
                                    int descriptor) noexcept {
    socket_slot* const slot = make_slot(descriptor);
    if (slot == nullptr) return -ENOMEM;
    take_from_kernel();
    slot->local = listener.local;
    // ENOTCONN: reset in the meantime. Whoever got it finds that out by its first receive.
    if (ask_peer(descriptor, slot->remote) != 0) slot->remote.size = 0;
    op.accepted = handle_of(*slot);
    return 0;
}

void uring_poller::prefetch(socket_slot& slot, int descriptor) noexcept {
    if (slot.closing) {
        ::close(descriptor);
        return;
    }
    try {
        if (slot.prefetched == nullptr) slot.prefetched = std::make_unique<std::vector<int>>();
        slot.prefetched->push_back(descriptor);
    } catch (const std::bad_alloc&) {
        // Nobody can be told; the peer is.
        ::close(descriptor);
        return;
    }
    const bool full = slot.prefetched->size() >= most_prefetched;
    if (!full || !slot.multishot_armed || slot.multishot_cancelling) return;
    // Reading completions never submits: without a free entry the next connection tries again.
    io_uring_sqe* const entry = ring_.next_entry();
    if (entry == nullptr) return;
    entry->opcode = IORING_OP_ASYNC_CANCEL;
    entry->addr = name_of_multishot(slot);
    entry->user_data = tag_ignored;
    ++internal_;
    slot.multishot_cancelling = true;
}

}  // namespace coro::inline v0::detail
