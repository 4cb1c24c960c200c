// How a readiness world answers in completions.
//
// A socket is registered once, edge-triggered, for everything, at the first moment at which
// somebody has to wait for it: a connection that never makes anybody wait costs no epoll_ctl.
// After that epoll_ctl is never called again for it. What epoll has said is kept in two bits of
// the slot, `readable` and `writable`; an operation is tried at once if its bit is set, otherwise,
// or on EAGAIN, it is parked in the slot, and wait() tries it again after the next edge.
//
// No edge is lost, because:
//  a. A bit is cleared only by a call that found the kernel's buffer exhausted: EAGAIN, or a
//     transfer shorter than asked (epoll(7), Q&A 9). What arrives after that call is a new edge.
//  b. Registering (EPOLL_CTL_ADD) reports the state at that moment as a first edge.
//  c. A short receive does not mean "exhausted" while the end of the stream, an error (both are no
//     new edge once seen) or urgent data is in the queue: recv(2) stops at the urgent mark. These
//     are remembered in `hung_up`, which only EAGAIN takes back. At a unix(7) socket a receive
//     also stops behind ancillary data, which MSG_CTRUNC gives away. At a datagram socket only
//     EAGAIN means "exhausted": each receive takes one message, however short (epoll_datagram.cpp).
//
// An event names a slot by index and generation. It may be older than the slot: a duplicate of a
// closed descriptor in a child process keeps the registration alive (epoll(7), Q&A 6). Such events
// are dropped.
#include "poller/epoll_poller.hpp"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <climits>
#include <cstring>
#include <new>

#include <coro/base/detail/assert.hpp>

#include "poller/epoll_state.hpp"
#include "poller/inflight_registry.hpp"
#include "poller/slice_cut.hpp"

namespace coro { inline namespace v0 { namespace detail {

using namespace epoll;

namespace {

constexpr std::uint32_t all_edges =
    EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | static_cast<std::uint32_t>(EPOLLET);
constexpr std::uint32_t ending_edges = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
/// After these a short receive is no proof of an empty queue (rule c).
constexpr std::uint32_t unreliable_edges = ending_edges | EPOLLPRI;
/// What is lent beyond it (to who writes slowly) comes from the heap.
constexpr unsigned most_in_pool = 1024;
constexpr int accept_attempts = 16;      ///< connections in a row that may be dead when accepted

msghdr header_of(std::span<io_slice> slices) noexcept {
    msghdr message{};
    message.msg_iov = reinterpret_cast<iovec*>(slices.data());
    message.msg_iovlen = slices.size();
    return message;
}

std::size_t bytes_of(const msghdr& message) noexcept {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) bytes += message.msg_iov[i].iov_len;
    return bytes;
}

/// Calls `transfer` with as many of the operation's slices as may move at once.
template <typename Transfer>
std::int32_t bounded(const operation& op, Transfer transfer) noexcept {
    const std::span slices(op.slices.first, op.slices.count);
    slice_cut cut;
    const std::size_t count = cut.make(slices);
    const std::int32_t moved = transfer(slices.first(count));
    cut.undo();
    return moved;
}

}  // namespace

// --- set-up

std::string epoll_poller::prepare(int& error) {
    const auto failed = [&error](const char* what) {
        error = errno;
        return std::string(what) + " returned " + strerrorname_np(error);
    };
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) return failed("epoll_create1(2)");
    wake_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_ < 0) return failed("eventfd(2)");
    epoll_event event{};
    event.events = EPOLLIN | static_cast<std::uint32_t>(EPOLLET);
    event.data.u64 = wake_event;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) != 0) return failed("epoll_ctl(2)");
    const unsigned first = options_.lease_buffers;
    options_.lease_buffers_most =
        std::clamp(options_.lease_buffers_most, first, std::max(first, most_in_pool));
    // A limit on the address space leaves room for fewer.
    const std::size_t bytes = options_.lease_buffer_bytes;
    while (bytes * options_.lease_buffers_most != 0 &&
           !pool_.reserve(options_.lease_buffers_most * bytes)) {
        if (options_.lease_buffers_most == first) return failed("mmap(2) of leased buffers");
        options_.lease_buffers_most = std::max(first, options_.lease_buffers_most / 2);
    }
    try {
        free_leases_.reserve(options_.lease_buffers_most);
        leased_.resize(options_.lease_buffers_most);
        grow_pool(options_.lease_buffers);
    } catch (const std::bad_alloc&) {
        error = ENOMEM;
        return "no memory for the pool of leased buffers";
    }
    return {};
}

epoll_poller::~epoll_poller() {
    if (wake_ >= 0) ::close(wake_);
    if (epoll_ >= 0) ::close(epoll_);
}

// --- the life of an operation

bool epoll_poller::submit(operation& op) noexcept {
    ++counters.submitted;
    socket_slot* slot = find(op.target);
    if (slot == nullptr) [[unlikely]] return submit_elsewhere(op);
    if ((receives(op.code) ? slot->receiver : slot->sender) != nullptr) {
        finish(op, result_busy);
        return true;
    }
    note_task(slot->notes, op);
    if (op.code == opcode::receive_leased) op.lease_data = nullptr;
    const std::int32_t result = start(*slot, op);
    if (result == would_block) return !park(*slot, op);
    finish(op, result);
    return true;
}

std::int32_t epoll_poller::start(socket_slot& slot, operation& op) noexcept {
    if (receives(op.code) ? slot.readable : slot.writable) return attempt(slot, op);
    return start_unready(slot, op);
}

/// The bit of its direction is not set: most have to wait for the edge.
std::int32_t epoll_poller::start_unready(socket_slot& slot, operation& op) noexcept {
    switch (op.code) {
        // Nobody waits by it, and the edge of who has just come may be unread: it asks.
        case opcode::accept_if_waiting: return accept_if_there(slot, op);
        case opcode::connect: return start_connect(slot, op);
        // No edge ends it.
        case opcode::accept: return slot.datagram ? -EOPNOTSUPP : would_block;
        case opcode::receive_from:
        case opcode::send_to: {
            const std::int32_t refused = check_datagram(slot, op);
            return refused != 0 ? refused : would_block;
        }
        default: return would_block;
    }
}

std::int32_t epoll_poller::attempt(socket_slot& slot, operation& op) noexcept {
    switch (op.code) {
        case opcode::receive:
            return try_receive(slot, {op.buffer.data,
                                      std::min(op.buffer.size, most_bytes_at_once)});
        case opcode::receive_vectored:
            return bounded(op, [&](std::span<io_slice> into) {
                return try_receive_message(slot, into);
            });
        case opcode::receive_leased: return try_receive_leased(slot, op);
        case opcode::send: return try_send(slot, op.buffer.data,
                                           std::min(op.buffer.size, most_bytes_at_once));
        case opcode::send_vectored:
            return bounded(op, [&](std::span<io_slice> from) {
                return try_send_message(slot, from);
            });
        case opcode::accept: return try_accept(slot, op);
        case opcode::accept_if_waiting: return accept_if_there(slot, op);
        case opcode::connect:
            return op.phase == operation_phase::submitted ? check_connect(slot, op)
                                                          : start_connect(slot, op);
        case opcode::receive_from: return try_receive_from(slot, op);
        case opcode::send_to: return try_send_to(slot, op);
        case opcode::poll_receive:
        case opcode::poll_send: break;  // not on a socket's slot
    }
    return -EINVAL;
}

/// False when the socket cannot be waited for; the operation is completed then.
bool epoll_poller::park(socket_slot& slot, operation& op) noexcept {
    if (!slot.registered) {
        if (const int error = register_slot(slot); error != 0) {
            finish(op, error);
            return false;
        }
    }
    (receives(op.code) ? slot.receiver : slot.sender) = &op;
    op.phase = operation_phase::submitted;
    op.backend_state = state_parked;
    ++pending_operations_;
    if (inflight_registry::enabled()) [[unlikely]] {
        if (op.code == opcode::receive) {
            inflight_registry::add(&op, op.buffer.data, op.buffer.size);
        }
        if (op.code == opcode::receive_vectored)
            inflight_registry::add(&op, op.slices.first, op.slices.count);
        if (op.code == opcode::receive_from) inflight_registry::add(&op, &op.datagram->bytes, 1);
    }
    return true;
}

int epoll_poller::register_slot(socket_slot& slot) noexcept {
    epoll_event event{};
    event.events = all_edges;
    event.data.u64 = event_data(slot);
    ++counters.controls;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, slot.descriptor, &event) != 0) {
        // The same open file under the same number again: dup2(2) by the program behind our back.
        if (errno != EEXIST) return -errno;
        ++counters.controls;
        if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, slot.descriptor, &event) != 0) return -errno;
    }
    slot.registered = true;
    return 0;
}

void epoll_poller::finish(operation& op, std::int32_t result) noexcept {
    op.result = result;
    op.phase = operation_phase::completed;
    ++counters.completed;
}

void epoll_poller::finish_parked(operation*& parked, std::int32_t result,
                                 operation_list& to) noexcept {
    operation& op = *parked;
    parked = nullptr;
    --pending_operations_;
    if (inflight_registry::enabled()) [[unlikely]] inflight_registry::remove(&op);
    finish(op, result);
    to.push(op);
}

void epoll_poller::cancel(operation& op) noexcept {
    if (op.phase != operation_phase::submitted || op.backend_state == state_ending) return;
    ++counters.cancels;
    end(op);
}

/// The operation stays in its slot, which is busy until wait() completes it.
void epoll_poller::end(operation& op) noexcept {
    op.backend_state = state_ending;
    ending_.push(op);
}

bool epoll_poller::begin_close(socket_slot& slot) noexcept {
    for (operation* op : {slot.receiver, slot.sender}) {
        if (op != nullptr && op->backend_state != state_ending) end(*op);
    }
    return slot.receiver == nullptr && slot.sender == nullptr;
}

int epoll_poller::forget(socket_slot& slot) noexcept {
    if (!slot.registered) return 0;
    ++counters.controls;
    if (::epoll_ctl(epoll_, EPOLL_CTL_DEL, slot.descriptor, nullptr) != 0) return -errno;
    slot.registered = false;
    return 0;
}

// --- the calls

std::int32_t epoll_poller::try_receive(socket_slot& slot, io_slice into) noexcept {
    if (slot.local) [[unlikely]] return try_receive_message(slot, {&into, 1});
    ++counters.receives;
    const std::int32_t got =
        uninterrupted([&] { return ::recv(slot.descriptor, into.data, into.size, 0); });
    return note_receive(slot, got, static_cast<std::uint32_t>(got) != into.size);
}

std::int32_t epoll_poller::try_receive_message(socket_slot& slot,
                                               std::span<io_slice> into) noexcept {
    ++counters.receives;
    msghdr message = header_of(into);
    const std::int32_t got =
        uninterrupted([&] { return ::recvmsg(slot.descriptor, &message, 0); });
    if (slot.local) count_moved(slot, got);
    const bool whole = got >= 0 && static_cast<std::uint32_t>(got) == bytes_of(message);
    return note_receive(slot, got, !whole && (message.msg_flags & MSG_CTRUNC) == 0);
}

/// `short_of`: fewer bytes came than were asked for.
std::int32_t epoll_poller::note_receive(socket_slot& slot, std::int32_t got,
                                        bool short_of) noexcept {
    if (got == -EAGAIN) {
        ++counters.would_block;
        slot.readable = false;
        slot.hung_up = false;
        return would_block;
    }
    if (got < 0) return got;
    if (short_of) {
        // An end of stream that was read before its edge was seen stays readable, like the edge.
        if (got == 0) slot.hung_up = true;
        // Nor does a short message say that no other one waits (rule c).
        if (!slot.hung_up && !slot.datagram) slot.readable = false;
    }
    return got;
}

std::int32_t epoll_poller::try_receive_leased(socket_slot& slot, operation& op) noexcept {
    lease buffer;
    if (!take_lease(buffer)) return peek_for_lease(slot);
    // Like io_uring with a buffer ring: no length means as much as the buffer holds.
    const std::size_t most = op.most == 0 ? options_.lease_buffer_bytes
                                          : std::min<std::size_t>(op.most,
                                                                  options_.lease_buffer_bytes);
    const std::int32_t got = try_receive(slot, {buffer.data, most});
    if (got <= 0) {
        return_lease(buffer.id, buffer.data, buffer.from_heap);
        return got;
    }
    op.lease_data = buffer.data;
    op.lease_id = buffer.id;
    op.lease_from_heap = buffer.from_heap;
    return got;
}

/// No buffer is left; that is an error only if one is needed.
std::int32_t epoll_poller::peek_for_lease(socket_slot& slot) noexcept {
    std::byte first{};
    ++counters.receives;
    const std::int32_t got =
        uninterrupted([&] { return ::recv(slot.descriptor, &first, 1, MSG_PEEK); });
    return got > 0 ? result_limit : note_receive(slot, got, got == 0);
}

std::int32_t epoll_poller::try_send(socket_slot& slot, const void* from,
                                    std::size_t size) noexcept {
    ++counters.sends;
    return note_send(slot, uninterrupted([&] {
        return ::send(slot.descriptor, from, size, MSG_NOSIGNAL);
    }), size);
}

std::int32_t epoll_poller::try_send_message(socket_slot& slot,
                                            std::span<io_slice> from) noexcept {
    ++counters.sends;
    const msghdr message = header_of(from);
    return note_send(slot, uninterrupted([&] {
        return ::sendmsg(slot.descriptor, &message, MSG_NOSIGNAL);
    }), bytes_of(message));
}

std::int32_t epoll_poller::note_send(socket_slot& slot, std::int32_t sent,
                                     std::size_t asked) noexcept {
    if (sent == -EAGAIN) {
        ++counters.would_block;
        slot.writable = false;
        return would_block;
    }
    if (sent < 0) return sent;
    if (slot.local) count_moved(slot, sent);
    // The kernel asks for the EPOLLOUT edge itself when it takes less than offered.
    if (static_cast<std::uint32_t>(sent) < asked) slot.writable = false;
    return sent;
}

std::int32_t epoll_poller::try_accept(socket_slot& listener, operation& op) noexcept {
    // Asked first: a connection that was taken could not be put back.
    if (!slot_available()) return -ENOMEM;
    compact_address peer;
    int error = 0;
    for (int tries = 0; tries < accept_attempts; ++tries) {
        socklen_t size = static_cast<socklen_t>(peer.bytes.size());
        const std::int32_t descriptor = uninterrupted([&] {
            return ::accept4(listener.descriptor, reinterpret_cast<sockaddr*>(peer.bytes.data()),
                             &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        });
        if (descriptor >= 0) {
            socket_slot* slot = make_slot(descriptor);
            peer.size = size;
            slot->remote = peer;
            keep_accepted_peer(*slot, listener.local);
            note_task(slot->notes, op);
            op.accepted = handle_of(*slot);
            return 0;
        }
        error = -descriptor;
        if (!is_dead_connection(error)) break;
    }
    if (error != EAGAIN) return -error;
    ++counters.would_block;
    listener.readable = false;
    return would_block;
}

std::int32_t epoll_poller::accept_if_there(socket_slot& listener, operation& op) noexcept {
    const std::int32_t found = try_accept(listener, op);
    return found == would_block ? -EAGAIN : found;
}

int epoll_poller::call_connect(const socket_slot& slot, const operation& op) noexcept {
    const socket_address& where = *op.where;
    if (const int refused = check_where(slot, where); refused != 0) return refused;
    const auto* address = reinterpret_cast<const sockaddr*>(where.bytes.data());
    if (::connect(slot.descriptor, address, where.size) == 0) return 0;
    // connect(2): an interrupted connect goes on in the background like one in progress.
    return errno == EINTR ? -EINPROGRESS : -errno;
}

std::int32_t epoll_poller::note_connected(socket_slot& slot, const operation& op) noexcept {
    keep_peer(slot, *op.where);
    return 0;
}

std::int32_t epoll_poller::start_connect(socket_slot& slot, const operation& op) noexcept {
    const int answer = call_connect(slot, op);
    if (answer == 0) return note_connected(slot, op);
    // connect(2): at a local listener its backlog is full, elsewhere there are no ports.
    const bool refused_for_now = answer == -EAGAIN && slot.local;
    if (answer != -EINPROGRESS && !refused_for_now) {
        return answer == -EAGAIN ? -EADDRNOTAVAIL : answer;
    }
    if (refused_for_now) {
        try {
            refused_for_now_.push_back(op.target);
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
    }
    // A receive in the meantime must not take away the error that belongs to the connect.
    slot.readable = false;
    return would_block;
}

/// The second call of connect() is needed: only that makes a TCP socket "connected" for a third
/// one, which is answered with EISCONN (inet_stream_connect() in the kernel's net/ipv4/af_inet.c).
std::int32_t epoll_poller::check_connect(socket_slot& slot, const operation& op) noexcept {
    int error = 0;
    socklen_t size = sizeof error;
    if (::getsockopt(slot.descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return -errno;
    if (error != 0) return -error;
    const int answer = call_connect(slot, op);
    if (answer == 0 || answer == -EISCONN) return note_connected(slot, op);
    // The edge was an older one, or a local listener is still full.
    if (answer == -EALREADY || answer == -EINPROGRESS || answer == -EAGAIN) return would_block;
    return answer;
}

// --- collecting

void epoll_poller::wait(time_point deadline, operation_list& completed) noexcept {
    mark_.check();
    const std::uint64_t pending_before = pending_operations_;
    finish_ending(completed);
    if (!refused_for_now_.empty()) {
        retry_connects(completed);
        deadline = std::min(deadline, saturating_add(now(), connect_pause));
    }
    const int count = collect(deadline, pending_operations_ == pending_before);
    batch_was_full_ = static_cast<std::size_t>(count) == events_.size();
    for (int i = 0; i < count; ++i) {
        socket_slot* slot = note_edges(events_[static_cast<std::size_t>(i)], completed);
        if (slot != nullptr) try_parked(*slot, completed);
    }
}

void epoll_poller::finish_ending(operation_list& completed) noexcept {
    while (operation* op = ending_.pop()) {
        socket_slot& slot = slot_at(op->target.index);
        operation*& parked = receives(op->code) ? slot.receiver : slot.sender;
        const std::int32_t result = ended_result(slot);
        if (slot.watched) end_watch(slot);
        finish_parked(parked, result, completed);
        if (slot.closing && slot.receiver == nullptr && slot.sender == nullptr) free_slot(slot);
    }
}

void epoll_poller::retry_connects(operation_list& completed) noexcept {
    // No edge tells when a local listener has room again: unix(7).
    std::erase_if(refused_for_now_, [&](detail::handle socket) {
        socket_slot* slot = find(socket);
        // Cancelled since, or closed.
        if (slot == nullptr || slot->sender == nullptr) return true;
        if (slot->sender->code != opcode::connect) return true;
        const std::int32_t result = check_connect(*slot, *slot->sender);
        if (result == would_block) return false;
        finish_parked(slot->sender, result, completed);
        return true;
    });
}

int epoll_poller::collect(time_point deadline, bool may_wait) noexcept {
    ++counters.waits;
    if (may_wait && deadline == never) return wait_in_kernel(nullptr);
    timespec timeout{};
    // The turn's time is in the past: what was due then needs no look at the clock.
    if (may_wait && deadline > turn_time) {
        const duration left = std::max(deadline - now(), duration::zero());
        timeout.tv_sec = static_cast<time_t>(left / std::chrono::seconds(1));
        timeout.tv_nsec = static_cast<long>((left % std::chrono::seconds(1)).count());
    }
    return wait_in_kernel(&timeout);
}

/// The number of events; 0 also when a signal came: returning early is legal.
int epoll_poller::wait_in_kernel(const timespec* timeout) noexcept {
    constexpr int most = static_cast<int>(std::tuple_size_v<decltype(events_)>);
    if (has_pwait2_) {
        const int count = ::epoll_pwait2(epoll_, events_.data(), most, timeout, nullptr);
        if (count >= 0) return count;
        if (errno == EINTR) return 0;
        // Linux before 5.11, or a seccomp filter older than the call (which answers EPERM).
        has_pwait2_ = false;
        ++counters.waits;
    }
    int milliseconds = -1;
    if (timeout != nullptr) {
        // Rounded up: never before the deadline, and no spinning in its last millisecond.
        const std::int64_t whole = std::int64_t{timeout->tv_sec} < INT_MAX / 1000
            ? std::int64_t{timeout->tv_sec} * 1000 + (timeout->tv_nsec + 999'999) / 1'000'000
            : INT_MAX;
        milliseconds = static_cast<int>(whole);
    }
    const int count = ::epoll_wait(epoll_, events_.data(), most, milliseconds);
    CORO_ASSERT(count >= 0 || errno == EINTR, "epoll_wait(2) failed on the poller's descriptor");
    return std::max(count, 0);
}

/// The slot that the event is about; nullptr for the wake-up and for what is out of date.
socket_slot* epoll_poller::note_edges(const epoll_event& event,
                                      operation_list& completed) noexcept {
    if (event.data.u64 == wake_event) {
        ++counters.wakes;
        return nullptr;
    }
    socket_slot& slot = slot_at(static_cast<std::uint32_t>(event.data.u64));
    if (!slot.open || slot.generation != event.data.u64 >> 32) {
        finish_watched(slot, event, completed);
        return nullptr;
    }
    const std::uint32_t edges = event.events;
    if ((edges & unreliable_edges) != 0) slot.hung_up = true;
    if ((edges & (EPOLLIN | unreliable_edges)) != 0) slot.readable = true;
    if ((edges & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) slot.writable = true;
    return &slot;
}

void epoll_poller::try_parked(socket_slot& slot, operation_list& completed) noexcept {
    // The sender first: a refused connect must find its error before a receive takes it.
    if (slot.sender != nullptr && slot.writable) {
        const std::int32_t result = attempt(slot, *slot.sender);
        if (result != would_block) finish_parked(slot.sender, result, completed);
    }
    const bool connecting = slot.sender != nullptr && slot.sender->code == opcode::connect;
    // One receive an event: what is left waits behind the other sockets of this batch.
    if (slot.receiver != nullptr && slot.readable && !connecting) {
        const std::int32_t result = attempt(slot, *slot.receiver);
        if (result != would_block) finish_parked(slot.receiver, result, completed);
    }
}

void epoll_poller::wake() noexcept {
    // After fork(2) the descriptor is still the parent's: a signal handler in the child is silent.
    if (!is_ours()) return;
    const int saved = errno;  // this may be a signal handler
    const std::uint64_t one = 1;
    // Nobody reads the counter: each write is an edge of its own. After 2^64 - 2 of them write
    // answers EAGAIN (eventfd(2)); then, and only then, it is emptied.
    while (::write(wake_, &one, sizeof one) < 0) {
        std::uint64_t count = 0;
        if (errno == EAGAIN && ::read(wake_, &count, sizeof count) < 0 && errno != EAGAIN) break;
    }
    errno = saved;
}

std::unique_ptr<poller> make_epoll_poller(const poller_options& options, std::string& why_not,
                                          int& error) {
    auto made = std::make_unique<epoll_poller>(options);
    why_not = made->prepare(error);
    if (!why_not.empty()) return nullptr;
    return made;
}

}}}  // namespace coro::v0::detail
