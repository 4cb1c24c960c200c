// Datagrams by io_uring: a message header for each request, which the kernel reads and writes while
// the request is in it. The peer's address and the bytes are in the awaiter.
#include "poller/uring_poller.hpp"

#include <sys/socket.h>

#include "poller/message_header.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// May be called again for the same operation: a request that is made anew starts from its request.
void uring_poller::fill_datagram(io_uring_sqe& entry, operation& op) noexcept {
    auto& message = *static_cast<message_record*>(op.backend_pointer);
    const bool receiving = op.code == opcode::receive_from;
    message.header = receiving ? receive_header(*op.datagram) : send_header(*op.datagram);
    entry.opcode = receiving ? IORING_OP_RECVMSG : IORING_OP_SENDMSG;
    if (!receiving) {
        entry.msg_flags = MSG_NOSIGNAL;
        // No poll of this socket tells of room at a peer that the message names.
        const bool names_peer = op.datagram->peer.size != 0;
        if (names_peer && slot_at(op.target.index).local) entry.msg_flags |= MSG_DONTWAIT;
    }
    entry.addr = reinterpret_cast<std::uintptr_t>(&message.header);
    entry.len = 1;
}

/// A datagram was taken for `op`.
void uring_poller::received(operation& op) noexcept {
    note_received(*op.datagram, static_cast<message_record*>(op.backend_pointer)->header);
}

}}}  // namespace coro::v0::detail
