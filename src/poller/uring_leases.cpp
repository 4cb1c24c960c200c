// Leased receives by io_uring: a buffer is taken only when bytes have come.
//
// With a buffer ring the kernel chooses the buffer at that moment. If the ring is empty it returns
// ENOBUFS at once, bytes or not; then the pool grows. When it must not grow any more, the operation
// waits by a poll that holds no buffer, and when it fires takes what is there: the ring again if
// buffers came back, otherwise one from the heap under the cap, otherwise it ends with
// result_limit. Nothing is retried before the kernel has said that there is something to read, so
// an empty pool costs no loop, and nobody else waits for it.
#include "poller/uring_poller.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "poller/kernel_order.hpp"
#include "poller/uring_state.hpp"

namespace coro { inline namespace v0 { namespace detail {

using namespace uring;

void uring_poller::fill_leased(io_uring_sqe& entry, operation& op) noexcept {
    if (!buffers_.kernel_chooses() || (op.backend_state & polling) != 0) {
        op.backend_state |= polling;
        entry.opcode = IORING_OP_POLL_ADD;
        entry.poll32_events = __io_uring_prep_poll_mask(POLLIN | POLLRDHUP);
        return;
    }
    ++counters.receives;
    entry.opcode = IORING_OP_RECV;
    entry.flags = IOSQE_BUFFER_SELECT;
    entry.buf_group = uring_buffers::group;
    // 0 is as much as the buffer holds.
    entry.len = static_cast<std::uint32_t>(std::min(op.most, buffers_.bytes()));
}

void uring_poller::on_lease(socket_slot& slot, operation& op, std::int32_t result,
                            std::uint32_t flags) noexcept {
    const bool ending = (op.backend_state & cancelling) != 0;
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        const std::uint32_t id = flags >> IORING_CQE_BUFFER_SHIFT;
        buffers_.taken(id);
        if (result > 0) {
            op.lease_data = buffers_.at(id);
            op.lease_id = id;
            ++leases_out_;
            take_from_kernel();
        } else {
            // A cancelled receive, or the end of the stream, may have consumed one all the same.
            buffers_.give_back(id);
        }
    }
    if (result == -ENOBUFS && (op.backend_state & polling) == 0) {
        ++counters.no_buffers;
        // Buffers that are available now came back, or were made, after the kernel had looked.
        if (buffers_.available() == 0 && !buffers_.grow()) op.backend_state |= polling;
        if (!ending) {
            postpone(op, owes_request);
            return;
        }
        result = -ECANCELED;
    }
    if (is_no_answer(result) && !ending) {
        postpone(op, owes_request);
        return;
    }
    if ((op.backend_state & polling) == 0 || result < 0) {
        settle(op, result);
    } else if (ending) {
        settle(op, -ECANCELED);  // readable, but nothing was taken
    } else {
        on_readable(slot, op);
    }
}

/// The poll of `op` has fired.
void uring_poller::on_readable(socket_slot& slot, operation& op) noexcept {
    if (buffers_.kernel_chooses() && buffers_.available() > 0) {
        op.backend_state &= static_cast<std::uint8_t>(~polling);
        postpone(op, owes_request);
        return;
    }
    lease buffer;
    std::byte probe{};
    // Without a buffer it is still worth a look: the end of the stream and errors need none.
    const bool got_one = take_lease(buffer);
    const std::size_t most =
        op.most == 0 ? options_.lease_buffer_bytes
                     : std::min<std::size_t>(op.most, options_.lease_buffer_bytes);
    ++counters.receives;
    ssize_t got = 0;
    do {
        got = got_one ? ::recv(slot.descriptor, buffer.data, most, MSG_DONTWAIT)
                      : ::recv(slot.descriptor, &probe, 1, MSG_DONTWAIT | MSG_PEEK);
    } while (got < 0 && errno == EINTR);
    const std::int32_t result = got < 0 ? -errno : static_cast<std::int32_t>(got);
    if (got_one && result > 0) {
        op.lease_data = buffer.data;
        op.lease_id = buffer.id;
        op.lease_from_heap = buffer.from_heap;
    } else if (got_one) {
        return_lease(buffer.id, buffer.data, buffer.from_heap);
    }
    if (result == -EAGAIN) {
        ++counters.would_block;
        postpone(op, owes_request);
        return;
    }
    settle(op, result > 0 && !got_one ? std::int32_t{result_limit} : result);
}

bool uring_poller::take_lease(lease& out) noexcept {
    if (buffers_.kernel_chooses()) return take_heap_lease(out);
    if (buffers_.available() == 0 && !buffers_.grow()) return take_heap_lease(out);
    const std::uint32_t id = buffers_.take();
    ++leases_out_;
    out = {id, buffers_.at(id), false};
    return true;
}

std::size_t uring_poller::lend(operation& op) noexcept {
    lease buffer;
    if (!take_lease(buffer)) return 0;
    op.lease_data = buffer.data;
    op.lease_id = buffer.id;
    op.lease_from_heap = buffer.from_heap;
    return options_.lease_buffer_bytes;
}

void uring_poller::return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept {
    if (from_heap) {
        give_heap_lease(data);
        return;
    }
    ring_.check_ours();
    buffers_.give_back(lease_id);
    --leases_out_;
}

}}}  // namespace coro::v0::detail
