// How a completion world answers: submit() fills an entry of the submission queue, wait() enters
// the kernel once for all of them and reads what has completed.
//
// The invariants:
//  1. A request in the kernel is named by user_data (uring_state.hpp): an operation by its address,
//     which is sound because the operation stays where it is until its own completion was read. A
//     cancel names it too. It cannot hit a later operation at the same address: the kernel takes
//     entries in order, so a cancel is through before anything submitted after it.
//  2. `slot.in_flight` counts the requests that name the slot's descriptor. A closing slot keeps it
//     open until that is 0; close(2) alone would end nothing, because a request pins the file.
//  3. Nobody is completed outside of submit() and wait(). What ends elsewhere (cancelled before it
//     had a request, or read because a full queue had to make room) is settled: its result stands,
//     and the next wait() delivers it. Until then it holds its place in the slot.
//  4. Reading completions never submits. What then needs an entry (a request to be made again, a
//     cancel that found no room) is postponed; wait() arms it before it enters.
//  5. With DEFER_TASKRUN a completion is posted only inside an enter() that collects. That there is
//     something to collect shows in the TASKRUN flag of the submission queue, in user memory.
#include "poller/uring_poller.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>

#include <coro/base/detail/assert.hpp>

#include "poller/epoll_set.hpp"
#include "poller/inflight_registry.hpp"
#include "poller/kernel_order.hpp"
#include "poller/uring_state.hpp"

namespace coro { inline namespace v0 { namespace detail {

using namespace uring;

namespace {

constexpr std::size_t messages_per_chunk = 64;

/// Not MSG_WAITALL: the kernel would go on by itself after a partial send, meet the reset, and
/// answer only the count. The reset would be gone, and the next receive an orderly end of stream.
constexpr std::uint32_t send_flags = MSG_NOSIGNAL;

constexpr unsigned bit(opcode one) noexcept { return 1u << static_cast<unsigned>(one); }

/// Those that have something to do, or to check, before they have a request.
constexpr bool begins_otherwise(opcode code) noexcept {
    constexpr unsigned all = bit(opcode::connect) | bit(opcode::accept) |
                             bit(opcode::accept_if_waiting) | bit(opcode::receive_from) |
                             bit(opcode::send_to);
    return (all >> static_cast<unsigned>(code) & 1u) != 0;
}

/// Those whose request names a message header.
constexpr bool has_header(opcode code) noexcept {
    constexpr unsigned all = bit(opcode::receive_vectored) | bit(opcode::send_vectored) |
                             bit(opcode::receive_from) | bit(opcode::send_to);
    return (all >> static_cast<unsigned>(code) & 1u) != 0;
}

/// What a poll_* operation waits for, on the descriptor or on the epoll set in its place.
unsigned polled_events(const operation& op) noexcept {
    if ((op.backend_state & polling) != 0) return POLLIN;
    return op.code == opcode::poll_receive ? POLLIN : POLLOUT;
}

/// What ends it: poll(2) reports errors and hang-ups too, asked or not.
unsigned ends_poll(const operation& op) noexcept { return polled_events(op) | POLLERR | POLLHUP; }

std::uint32_t length_of(std::size_t size) noexcept {
    return static_cast<std::uint32_t>(std::min(size, most_bytes_at_once));
}

}  // namespace

// --- set-up and end

uring_poller::uring_poller(const poller_options& options) : posix_sockets(options) {}

bool uring_poller::open(std::string& why_not) {
    wake_descriptor_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_descriptor_ < 0) {
        open_error_ = errno;
        why_not = "eventfd(2) gave no descriptor";
        return false;
    }
    if (!ring_.open(options_, mark_, why_not)) {
        open_error_ = ring_.open_error();
        return false;
    }
    if (!buffers_.open(ring_, options_)) {
        open_error_ = ENOMEM;
        why_not = "no memory for the pool of leased buffers";
        return false;
    }
    arm_wake();
    return true;
}

uring_poller::~uring_poller() {
    CORO_ASSERT(pending_operations_ == 0 || !ring_.is_ours(),
                "a poller was destroyed while operations were pending: cancel them and wait for "
                "their completions first");
    if (ring_.is_ours() && internal_ != 0) {
        // The kernel tears a ring down later, on another thread. Everything is ended here first.
        queue_cancel(tag_wake);
        if (timeout_armed_) queue_cancel(timeout_number_ << tag_bits | tag_timeout);
        for (int attempt = 0; internal_ != 0 && attempt < most_attempts; ++attempt) {
            enter(1, nullptr, true);
            reap();
        }
    }
    if (wake_descriptor_ >= 0) ::close(wake_descriptor_);
}

std::uint32_t uring_poller::features() const noexcept {
    const std::uint32_t refused = buffers_.kernel_chooses() ? 0u : std::uint32_t{uring_buffer_ring};
    return ring_.features() & ~refused;
}

// --- the life of an operation

bool uring_poller::submit(operation& op) noexcept {
    ++counters.submitted;
    op.backend_state = 0;
    op.backend_pointer = nullptr;
    op.lease_from_heap = false;
    socket_slot* const slot = find(op.target);
    if (slot == nullptr) [[unlikely]] return submit_elsewhere(op);
    operation*& lane = lane_of(*slot, op.code);
    if (lane != nullptr) return answer(op, result_busy);
    note_task(slot->notes, op);
    // One test for all of them: a stream's transfer pays for no other kind.
    if (begins_otherwise(op.code) && begin_otherwise(*slot, op)) return true;
    if (!arm(*slot, op)) {
        give_back(op);
        return answer(op, -ENOMEM);
    }
    lane = &op;
    op.phase = operation_phase::submitted;
    ++pending_operations_;
    if (inflight_registry::enabled()) [[unlikely]] {
        if (op.code == opcode::receive) {
            inflight_registry::add(&op, op.buffer.data, op.buffer.size);
        }
        if (op.code == opcode::receive_vectored) {
            inflight_registry::add(&op, op.slices.first, op.slices.count);
        }
        if (op.code == opcode::receive_from) inflight_registry::add(&op, &op.datagram->bytes, 1);
    }
    return false;
}

/// True when `op` is completed, with what it asked for or with an error.
bool uring_poller::begin_otherwise(socket_slot& slot, operation& op) noexcept {
    if (accepts(op.code)) return accept_now(slot, op);
    if (op.code == opcode::connect) {
        const std::int32_t refused = check_where(slot, *op.where);
        return refused != 0 && answer(op, refused);
    }
    const std::int32_t refused = check_datagram(slot, op);
    return refused != 0 && answer(op, refused);
}

/// `op` names no open socket: a watch(), or nothing that is there.
bool uring_poller::submit_elsewhere(operation& op) noexcept {
    socket_slot* const slot = polls(op.code) ? find_watched(op.target) : nullptr;
    if (slot == nullptr) return answer(op, result_closed);
    if (!arm(*slot, op)) {
        free_slot(*slot);
        return answer(op, -ENOMEM);
    }
    lane_of(*slot, op.code) = &op;
    op.phase = operation_phase::submitted;
    ++pending_operations_;
    return false;
}

bool uring_poller::answer(operation& op, std::int32_t result) noexcept {
    op.result = result;
    op.phase = operation_phase::completed;
    ++counters.completed;
    return true;
}

/// Queues the request of `op`; false when there is no entry or no memory.
bool uring_poller::arm(socket_slot& slot, operation& op) noexcept {
    if (has_header(op.code) && op.backend_pointer == nullptr) {
        op.backend_pointer = take_message();
        if (op.backend_pointer == nullptr) return false;
    }
    io_uring_sqe* const entry = take_entry();
    if (entry == nullptr) return false;
    entry->fd = slot.descriptor;
    entry->user_data = name_of(op);
    fill(*entry, op);
    ++slot.in_flight;
    return true;
}

void uring_poller::fill(io_uring_sqe& entry, operation& op) noexcept {
    switch (op.code) {
        case opcode::receive:
            ++counters.receives;
            entry.opcode = IORING_OP_RECV;
            entry.addr = reinterpret_cast<std::uintptr_t>(op.buffer.data);
            entry.len = length_of(op.buffer.size);
            return;
        case opcode::send:
            ++counters.sends;
            hand_to_kernel();
            entry.opcode = IORING_OP_SEND;
            entry.addr = reinterpret_cast<std::uintptr_t>(op.buffer.data);
            entry.len = length_of(op.buffer.size);
            entry.msg_flags = send_flags;
            return;
        case opcode::receive_vectored:
            ++counters.receives;
            entry.opcode = IORING_OP_RECVMSG;
            fill_message(entry, op);
            return;
        case opcode::send_vectored:
            ++counters.sends;
            hand_to_kernel();
            entry.opcode = IORING_OP_SENDMSG;
            entry.msg_flags = send_flags;
            fill_message(entry, op);
            return;
        case opcode::receive_from:
            ++counters.receives;
            fill_datagram(entry, op);
            return;
        case opcode::send_to:
            ++counters.sends;
            hand_to_kernel();
            fill_datagram(entry, op);
            return;
        case opcode::receive_leased: fill_leased(entry, op); return;
        case opcode::accept_if_waiting: return;  // never has a request
        case opcode::accept: {
            compact_address& peer = room_for_peer(*static_cast<socket_slot*>(op.backend_pointer));
            entry.opcode = IORING_OP_ACCEPT;
            entry.addr = reinterpret_cast<std::uintptr_t>(peer.bytes.data());
            entry.addr2 = reinterpret_cast<std::uintptr_t>(&peer.size);
            entry.accept_flags = accept_flags;
            return;
        }
        case opcode::connect: {
            hand_to_kernel();
            const socket_address& where = *op.where;
            entry.opcode = IORING_OP_CONNECT;
            entry.addr = reinterpret_cast<std::uintptr_t>(where.bytes.data());
            entry.off = where.size;
            return;
        }
        case opcode::poll_receive:
        case opcode::poll_send:
            entry.opcode = IORING_OP_POLL_ADD;
            entry.poll32_events = __io_uring_prep_poll_mask(polled_events(op));
            return;
    }
}

void uring_poller::fill_message(io_uring_sqe& entry, operation& op) noexcept {
    auto& message = *static_cast<message_record*>(op.backend_pointer);
    message.cut.undo();  // the request may be one that is made again
    message.header = msghdr{};
    message.header.msg_iov = reinterpret_cast<iovec*>(op.slices.first);
    message.header.msg_iovlen = message.cut.make({op.slices.first, op.slices.count});
    entry.addr = reinterpret_cast<std::uintptr_t>(&message.header);
    entry.len = 1;
}

/// The request has ended with `result`: inside wait() the operation is completed, elsewhere it is
/// kept for the next one.
void uring_poller::settle(operation& op, std::int32_t result) noexcept {
    op.result = result;
    if (out_ != nullptr) {
        deliver(op);
        return;
    }
    op.backend_state = settled;
    ready_.push(op);
}

void uring_poller::deliver(operation& op) noexcept {
    socket_slot& slot = slot_at(op.target.index);
    if (is_no_answer(op.result)) op.result = ended_result(slot);
    lane_of(slot, op.code) = nullptr;
    if (slot.local) count_moved(slot, op.result);
    give_back(op);
    if (inflight_registry::enabled()) [[unlikely]] inflight_registry::remove(&op);
    op.phase = operation_phase::completed;
    ++counters.completed;
    --pending_operations_;
    out_->push(op);
    if (slot.closing) [[unlikely]] free_if_left(slot);
}

void uring_poller::free_if_left(socket_slot& slot) noexcept {
    if (slot.in_flight != 0) return;
    if (slot.receiver == nullptr && slot.sender == nullptr) free_slot(slot);
}

void uring_poller::cancel(operation& op) noexcept {
    if (op.phase != operation_phase::submitted) return;
    if ((op.backend_state & (cancelling | settled)) != 0) return;
    ++counters.cancels;
    abandon(op);
}

/// Ends a pending operation as soon as possible; its completion tells how.
void uring_poller::abandon(operation& op) noexcept {
    if ((op.backend_state & (cancelling | settled)) != 0) return;
    op.backend_state |= cancelling;
    if ((op.backend_state & refused) != 0) {
        settle(op, -ECANCELED);
    } else if ((op.backend_state & owes_request) != 0) {
        withdraw(op);
        settle(op, -ECANCELED);
    } else if (!queue_cancel(name_of(op)) && (op.backend_state & settled) == 0) {
        // (Making room may have read its completion.)
        postpone(op, owes_cancel);
    }
}

void uring_poller::postpone(operation& op, std::uint8_t why) noexcept {
    op.backend_state |= why;
    op.next = nullptr;
    *postponed_tail_ = &op;
    postponed_tail_ = &op.next;
}

/// Takes it out of the postponed ones; a linear search, because they are few and rare.
void uring_poller::withdraw(operation& op) noexcept {
    operation** link = &postponed_;
    while (*link != &op) link = &(*link)->next;
    *link = op.next;
    if (postponed_tail_ == &op.next) postponed_tail_ = link;
    op.backend_state &= static_cast<std::uint8_t>(~owes_something);
}

bool uring_poller::begin_close(socket_slot& slot) noexcept {
    for (operation* const op : {slot.receiver, slot.sender}) {
        if (op != nullptr) abandon(*op);
    }
    return slot.receiver == nullptr && slot.sender == nullptr && slot.in_flight == 0;
}

int uring_poller::forget(socket_slot&) noexcept { return 0; }

// --- what the kernel says

void uring_poller::dispatch(const io_uring_cqe& done) noexcept {
    const std::uint64_t name = done.user_data;
    const std::uint64_t kind = name & tag_mask;
    if (kind == tag_operation) [[likely]] {
        on_operation(*reinterpret_cast<operation*>(name), done.res, done.flags);
        return;
    }
    const bool ended = (done.flags & IORING_CQE_F_MORE) == 0;
    if (ended) --internal_;
    if (kind == tag_wake) on_wake(done.res, ended);
    if (kind == tag_timeout && name >> tag_bits == timeout_number_) timeout_armed_ = false;
}

void uring_poller::on_operation(operation& op, std::int32_t result, std::uint32_t flags) noexcept {
    socket_slot& slot = slot_at(op.target.index);
    --slot.in_flight;
    if ((op.backend_state & owes_cancel) != 0) withdraw(op);
    if (op.code == opcode::receive_leased) {
        on_lease(slot, op, result, flags);
        return;
    }
    if (op.code == opcode::connect && result == -EAGAIN &&
        (op.backend_state & cancelling) == 0) {
        return on_full_backlog(slot, op);
    }
    if (op.code == opcode::accept && is_dead_connection(-result)) result = -EAGAIN;
    if (op.code == opcode::send_to && result == -EAGAIN &&
        (op.backend_state & cancelling) == 0) {
        if (const std::int32_t why = why_no_room(slot, *op.datagram); why != 0) result = why;
    }
    if (is_no_answer(result) && (op.backend_state & cancelling) == 0) {
        postpone(op, owes_request);
        return;
    }
    switch (op.code) {
        case opcode::receive:
        case opcode::receive_vectored: take_from_kernel(); break;
        case opcode::receive_from:
            take_from_kernel();
            if (result >= 0) received(op);
            break;
        case opcode::send:
        case opcode::send_vectored:
        case opcode::send_to: break;
        case opcode::connect:
            if (result == 0) on_connected(slot, op);
            break;
        case opcode::accept:
            if (result < 0) break;
            accepted(slot, op, result);
            result = 0;
            break;
        case opcode::poll_receive:
        case opcode::poll_send:
            if (result > 0 && (static_cast<unsigned>(result) & ends_poll(op)) == 0) {
                on_half_closed(slot, op);
                return;
            }
            if (result > 0) result = 0;  // which events it were
            break;
        case opcode::receive_leased:
        case opcode::accept_if_waiting: break;
    }
    settle(op, result);
}

/// A poll of io_uring also ends at POLLRDHUP, asked or not (its IO_POLL_UNMASK): the peer will send
/// no more, which says nothing about room. An epoll set tells the events apart, and is polled from
/// then on in place of the descriptor.
void uring_poller::on_half_closed(socket_slot& slot, operation& op) noexcept {
    if ((op.backend_state & cancelling) != 0) return settle(op, -ECANCELED);
    const int set = make_epoll_set(slot.descriptor, polled_events(op));
    if (set < 0) return settle(op, set);
    slot.descriptor = set;
    slot.borrowed = false;
    op.backend_state |= polling;
    postpone(op, owes_request);
}

/// unix(7): the backlog of a local listener is full, and nothing will tell when it is not. For
/// other sockets there is no port left.
void uring_poller::on_full_backlog(socket_slot& slot, operation& op) noexcept {
    if (!slot.local) return settle(op, -EADDRNOTAVAIL);
    // The kernel answers within the enter() that asks: without a pause each wait() would ask anew.
    if (refused_.empty()) retry_at_ = saturating_add(now(), connect_pause);
    try {
        refused_.push_back(op.target);
    } catch (const std::bad_alloc&) {
        return settle(op, -ENOMEM);
    }
    op.backend_state |= refused;
}

/// Asks again for connects that found no room.
void uring_poller::retry_connects() noexcept {
    for (const detail::handle socket : std::exchange(refused_, {})) {
        socket_slot* const slot = find(socket);
        if (slot == nullptr || slot->sender == nullptr) continue;  // closed since, or cancelled
        operation& op = *slot->sender;
        if (op.code != opcode::connect || (op.backend_state & refused) == 0) continue;
        op.backend_state &= static_cast<std::uint8_t>(~refused);
        postpone(op, owes_request);
    }
}

void uring_poller::on_connected(socket_slot& slot, const operation& op) noexcept {
    keep_peer(slot, *op.where);
}

// --- message headers

uring_poller::message_record* uring_poller::take_message() noexcept {
    if (free_messages_ == nullptr) {
        std::unique_ptr<message_record[]> chunk(new (std::nothrow)
                                                    message_record[messages_per_chunk]);
        if (chunk == nullptr) return nullptr;
        try {
            messages_.push_back(std::move(chunk));
        } catch (const std::bad_alloc&) {
            return nullptr;
        }
        for (std::size_t i = 0; i < messages_per_chunk; ++i) {
            message_record& one = messages_.back()[i];
            one.next_free = free_messages_;
            free_messages_ = &one;
        }
    }
    message_record* const taken = free_messages_;
    free_messages_ = taken->next_free;
    return taken;
}

/// Takes back what `op` got for its time in the kernel: a message header, or the slot of a
/// connection that has not come.
void uring_poller::give_back(operation& op) noexcept {
    if (op.code == opcode::receive_leased || op.backend_pointer == nullptr) return;
    void* const held = std::exchange(op.backend_pointer, nullptr);
    if (accepts(op.code)) return give_slot(*static_cast<socket_slot*>(held));
    auto* const record = static_cast<message_record*>(held);
    record->cut.undo();
    record->next_free = free_messages_;
    free_messages_ = record;
}

std::unique_ptr<poller> make_uring_poller(const poller_options& options, std::string& why_not,
                                          int* error) {
    auto made = std::make_unique<uring_poller>(options);
    if (made->open(why_not)) return made;
    if (error != nullptr) *error = made->open_error();
    return nullptr;
}

}}}  // namespace coro::v0::detail
