// What one loop has of the simulated world: slots, submit, cancel, wait, close.
#include "sim/sim_poller.hpp"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <new>
#include <utility>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// operation::backend_state: a second cancel() of one operation asks for nothing more.
constexpr std::uint8_t cancel_asked = 1;

static_assert(std::atomic<bool>::is_always_lock_free, "wake() must be async-signal-safe");

bool is_sending(const operation& op) noexcept { return !receives(op.code); }

}  // namespace

sim_poller::sim_poller(sim_world& of, const poller_options& options)
    : all_(of), leases_(options) {}

sim_poller::~sim_poller() {
    CORO_ASSERT(pending_operations_ == 0,
                "a poller was destroyed while operations were pending: cancel them and wait for "
                "their completion first");
    for (std::uint32_t index = 0; index < slots_.size(); ++index)
        if (slots_[index].socket) free_slot(index);
}

// --- slots

sim_poller::slot* sim_poller::slot_of(detail::handle handle) noexcept {
    if (!handle || handle.index >= slots_.size()) return nullptr;
    slot& found = slots_[handle.index];
    return found.socket && found.generation == handle.generation ? &found : nullptr;
}

sim_socket* sim_poller::find(detail::handle handle) noexcept {
    slot* found = slot_of(handle);
    return found != nullptr && !found->closing ? found->socket.get() : nullptr;
}

detail::handle sim_poller::make_slot(socket_pointer socket) {
    if (free_.empty()) {
        free_.push_back(static_cast<std::uint32_t>(slots_.size()));
        slots_.emplace_back();
    }
    std::pop_heap(free_.begin(), free_.end(), std::greater<>{});
    const std::uint32_t index = free_.back();
    free_.pop_back();
    slot& made = slots_[index];
    made.closing = false;
    if (++made.generation == 0) made.generation = 1;  // 0 is "none"
    socket->owner = this;
    made.socket = std::move(socket);
    ++open_sockets_;
    return {index, made.generation};
}

sim_poller::socket_pointer sim_poller::vacate_slot(std::uint32_t index) {
    socket_pointer left = std::exchange(slots_[index].socket, nullptr);
    left->owner = nullptr;
    left->notes.task = 0;  // of this loop
    --open_sockets_;
    free_.push_back(index);
    std::push_heap(free_.begin(), free_.end(), std::greater<>{});
    return left;
}

void sim_poller::free_slot(std::uint32_t index) {
    const socket_pointer gone = vacate_slot(index);
    all_.close_socket(*gone);
    --all_.open_sockets_;
}

int sim_poller::open_stream(address_family family, detail::handle& out) noexcept {
    return open_socket(std::make_shared<sim_socket>(family), out);
}

int sim_poller::open_datagram(address_family family, detail::handle& out) noexcept {
    if (family == address_family::local) return -EAFNOSUPPORT;
    return open_socket(std::make_shared<sim_socket>(family, true), out);
}

int sim_poller::open_socket(socket_pointer socket, detail::handle& out) {
    if (!all_.may_open()) return -EMFILE;
    set_default_options(*socket);
    ++all_.open_sockets_;
    out = make_slot(std::move(socket));
    return 0;
}

void sim_poller::close(detail::handle handle) noexcept {
    slot* found = slot_of(handle);
    if (found == nullptr || found->closing) return;
    found->closing = true;
    sim_socket& socket = *found->socket;
    if (socket.receiver == nullptr && socket.sender == nullptr) return free_slot(handle.index);
    // As where there are files: the name is free at once, whoever still waits for the socket.
    if (socket.family == address_family::local) all_.ports_.release(socket);
    all_.after(duration::zero(), sim_event_kind::close_slot, socket, handle.index);
}

int sim_poller::detach(detail::handle handle, detached& out) noexcept {
    sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (socket->receiver != nullptr || socket->sender != nullptr) return -EBUSY;
    const std::uint64_t token = all_.next_token_;
    try {
        all_.detached_.emplace(token, nullptr);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    ++all_.next_token_;
    out = detached();
    out.notes = socket->notes;
    out.notes.task = 0;
    out.datagram = socket->datagram;
    out.keep(all_, token);
    all_.detached_[token] = vacate_slot(handle.index);
    return 0;
}

int sim_poller::attach(detached&& what, detail::handle& out) noexcept {
    CORO_ASSERT(what.is_of(all_), "a poller was given a socket of another world");
    const auto found = all_.detached_.find(what.token);
    socket_pointer socket = std::move(found->second);
    all_.detached_.erase(found);
    what.taken();
    socket->notes = what.notes;
    out = make_slot(std::move(socket));
    return 0;
}

detail::handle sim_poller::next_socket(std::uint32_t from, std::uint32_t& task) noexcept {
    for (std::uint32_t index = from; index < slots_.size(); ++index) {
        const slot& each = slots_[index];
        if (!each.socket || each.closing) continue;
        task = task_of(each.socket->notes, each.socket->receiver, each.socket->sender);
        return {index, each.generation};
    }
    return {};
}

socket_notes* sim_poller::notes(detail::handle handle) noexcept {
    sim_socket* socket = find(handle);
    return socket == nullptr ? nullptr : &socket->notes;
}

// --- operations

bool sim_poller::submit(operation& op) noexcept {
    CORO_ASSERT(op.phase != operation_phase::submitted,
                "an operation was submitted while it was pending");
    ++counters.submitted;
    op.backend_state = 0;
    sim_socket* socket = find(op.target);
    if (socket == nullptr) {
        finish(op, result_closed);
        return true;
    }
    operation*& parked = is_sending(op) ? socket->sender : socket->receiver;
    if (parked != nullptr) {
        finish(op, result_busy);
        return true;
    }
    note_task(socket->notes, op);
    std::uint32_t& ticket = is_sending(op) ? socket->send_ticket : socket->receive_ticket;
    ++ticket;
    if (const sim_world::outcome result = all_.attempt(*socket, op)) {
        finish(op, *result);
        return true;
    }
    parked = &op;
    op.phase = operation_phase::submitted;
    ++pending_operations_;
    return false;
}

void sim_poller::cancel(operation& op) noexcept {
    if (op.phase != operation_phase::submitted || op.backend_state == cancel_asked) return;
    slot* found = slot_of(op.target);
    CORO_ASSERT(found != nullptr, "an operation was cancelled at a poller that does not have it");
    op.backend_state = cancel_asked;
    ++counters.cancels;
    sim_socket& socket = *found->socket;
    if (socket.sender == &op) {
        all_.after(duration::zero(), sim_event_kind::cancel_send, socket, socket.send_ticket);
    } else {
        all_.after(duration::zero(), sim_event_kind::cancel_receive, socket,
                   socket.receive_ticket);
    }
}

void sim_poller::finish(operation& op, std::int32_t result) noexcept {
    op.result = result;
    op.phase = operation_phase::completed;
    ++counters.completed;
}

void sim_poller::complete(operation& op, std::int32_t result) noexcept {
    finish(op, result);
    ready_.push(op);
    ++all_.completed_;
    ++all_.unread_;
}

// --- waiting

void sim_poller::wait(time_point deadline, operation_list& completed) noexcept {
    ++counters.waits;
    all_.stuck = false;
    for (;;) {
        // Taken before the events, so that a wake() from another thread meanwhile is for the next
        // wait() rather than lost.
        const bool woken = woken_.exchange(false, std::memory_order_acquire);
        all_.process_due_events();
        if (woken) ++counters.wakes;
        if (all_.unread_ > 0 || woken || all_.now_ >= deadline) break;
        const time_point next = std::min(deadline, all_.events_.next_time());
        if (next == never) {
            all_.stuck = true;  // wait(never), no event to come, no wake()
            CORO_ASSERT(all_.stuck_is_looked_at,
                        "simulation: nothing can ever happen again: every task waits and no timer "
                        "is set");
            break;
        }
        all_.now_ = next;
    }
    for (std::size_t left = batch; left != 0 && !ready_.empty(); --left) {
        completed.push(*ready_.pop());
        --pending_operations_;
        --all_.unread_;
    }
}

void sim_poller::wake() noexcept {
    woken_.store(true, std::memory_order_release);
}

poller_census sim_poller::census() const noexcept {
    return {pending_operations_, open_sockets_, leases_.lent()};
}

}}}  // namespace coro::v0::detail
