// The loop of the simulated world: slots, submit, cancel, wait, close.
#include "sim/sim_poller.hpp"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Not 0, so that a time never set is told from the first instant.
constexpr time_point first_instant{std::chrono::seconds(1)};
/// Completions collected by one wait() at most, as a kernel's queue would bound them.
constexpr std::size_t batch = 256;
/// operation::backend_state: a second cancel() of one operation asks for nothing more.
constexpr std::uint8_t cancel_asked = 1;

static_assert(std::atomic<bool>::is_always_lock_free, "wake() must be async-signal-safe");

}  // namespace

sim_poller::sim_poller(const poller_options& options)
    : now_(first_instant), leases_(options), random_(options.seed) {}

sim_poller::~sim_poller() {
    CORO_ASSERT(pending_operations_ == 0,
                "a poller was destroyed while operations were pending: cancel them and wait for "
                "their completion first");
}

std::unique_ptr<poller> make_sim_poller(const poller_options& options) {
    return std::make_unique<sim_poller>(options);
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
    made.socket = std::move(socket);
    ++open_sockets_;
    return {index, made.generation};
}

void sim_poller::free_slot(std::uint32_t index) {
    slot& gone = slots_[index];
    // unix(7) sockets take the option and make nothing of it.
    const bool by_reset = gone.socket->family != address_family::local &&
                          gone.socket->option(socket_option::linger) == 0;
    close_socket(*gone.socket, by_reset);
    gone.socket.reset();
    --open_sockets_;
    free_.push_back(index);
    std::push_heap(free_.begin(), free_.end(), std::greater<>{});
}

int sim_poller::open_stream(address_family family, detail::handle& out) noexcept {
    if (!may_open()) return -EMFILE;
    auto socket = std::make_shared<sim_socket>(family);
    set_default_options(*socket);
    out = make_slot(std::move(socket));
    return 0;
}

void sim_poller::close(detail::handle handle) noexcept {
    slot* found = slot_of(handle);
    if (found == nullptr || found->closing) return;
    found->closing = true;
    sim_socket& socket = *found->socket;
    if (socket.receiver == nullptr && socket.sender == nullptr) return free_slot(handle.index);
    after(duration::zero(), sim_event_kind::close_slot, socket, handle.index);
}

void sim_poller::finish_close(std::uint32_t index) {
    sim_socket& socket = *slots_[index].socket;
    if (socket.receiver != nullptr) complete_receiver(socket, result_closed);
    if (socket.sender != nullptr) complete_sender(socket, result_closed);
    free_slot(index);
}

// --- operations

bool sim_poller::is_sending(const operation& op) noexcept {
    return op.code == opcode::send || op.code == opcode::send_vectored ||
           op.code == opcode::connect;
}

sim_poller::outcome sim_poller::attempt(sim_socket& socket, operation& op) {
    switch (op.code) {
        case opcode::receive:
        case opcode::receive_vectored:
        case opcode::receive_leased: return attempt_receive(socket, op);
        case opcode::send:
        case opcode::send_vectored: return attempt_send(socket, op);
        case opcode::accept: return attempt_accept(socket, op);
        case opcode::connect: return attempt_connect(socket, op);
        case opcode::poll_receive:
        case opcode::poll_send: break;  // watch() makes no handle for them here
    }
    return -EINVAL;
}

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
    std::uint32_t& ticket = is_sending(op) ? socket->send_ticket : socket->receive_ticket;
    ++ticket;
    if (const outcome result = attempt(*socket, op)) {
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
        after(duration::zero(), sim_event_kind::cancel_send, socket, socket.send_ticket);
    } else {
        after(duration::zero(), sim_event_kind::cancel_receive, socket, socket.receive_ticket);
    }
}

void sim_poller::finish(operation& op, std::int32_t result) noexcept {
    op.result = result;
    op.phase = operation_phase::completed;
    ++counters.completed;
}

void sim_poller::complete_receiver(sim_socket& socket, std::int32_t result) noexcept {
    operation& op = *std::exchange(socket.receiver, nullptr);
    finish(op, result);
    --pending_operations_;
    ++collected_;
    completed_->push(op);
}

void sim_poller::complete_sender(sim_socket& socket, std::int32_t result) noexcept {
    operation& op = *std::exchange(socket.sender, nullptr);
    finish(op, result);
    --pending_operations_;
    ++collected_;
    completed_->push(op);
}

void sim_poller::retry_receiver(sim_socket& socket) {
    if (socket.receiver == nullptr) return;
    if (const outcome result = attempt(socket, *socket.receiver)) {
        complete_receiver(socket, *result);
    }
}

void sim_poller::retry_sender(sim_socket& socket) {
    if (socket.sender == nullptr || socket.sender->code == opcode::connect) return;
    if (const outcome result = attempt(socket, *socket.sender)) complete_sender(socket, *result);
}

// --- events

void sim_poller::after(duration delay, sim_event_kind kind, sim_socket& socket,
                       std::uint32_t amount) {
    events_.push(saturating_add(now_, delay), kind, socket.shared_from_this(), amount);
}

void sim_poller::process_due_events() {
    while (collected_ < batch && events_.next_time() <= now_) process(events_.pop());
}

void sim_poller::process(const sim_event& event) {
    sim_socket& socket = *event.socket;
    switch (event.kind) {
        case sim_event_kind::bytes_arrive: return bytes_arrive(socket, event.amount);
        case sim_event_kind::end_arrives:
            socket.end_arrived = true;
            return retry_receiver(socket);
        case sim_event_kind::reset_arrives: return reset_arrives(socket);
        case sim_event_kind::try_again:
            retry_receiver(socket);
            return retry_sender(socket);
        case sim_event_kind::queue_has_room: return admit_waiting(socket);
        case sim_event_kind::cancel_receive:
            if (socket.receiver == nullptr || socket.receive_ticket != event.amount) return;
            return complete_receiver(socket, -ECANCELED);
        case sim_event_kind::cancel_send:
            if (socket.sender == nullptr || socket.send_ticket != event.amount) return;
            if (socket.state == sim_state::connecting) abandon_connect(socket);
            return complete_sender(socket, -ECANCELED);
        case sim_event_kind::close_slot: return finish_close(event.amount);
        default: return process_connect(event);
    }
}

/// The events of an attempt to connect: all are void when it was cancelled or closed meanwhile.
void sim_poller::process_connect(const sim_event& event) {
    sim_socket& client = *event.socket;
    if (client.state != sim_state::connecting || client.send_ticket != event.amount) return;
    switch (event.kind) {
        case sim_event_kind::connect_arrives: return connect_arrives(client);
        case sim_event_kind::connect_succeeds:
            client.state = sim_state::connected;
            return complete_sender(client, 0);
        case sim_event_kind::connect_refused: return connect_fails(client, -ECONNREFUSED);
        case sim_event_kind::connect_expires: return connect_fails(client, -ETIMEDOUT);
        default: CORO_ASSERT(false, "simulation: an event of unknown kind");
    }
}

void sim_poller::wait(time_point deadline, operation_list& completed) noexcept {
    ++counters.waits;
    completed_ = &completed;
    collected_ = 0;
    stuck = false;
    for (;;) {
        // Taken before the events, so that a wake() from another thread meanwhile is for the next
        // wait() rather than lost.
        const bool woken = woken_.exchange(false, std::memory_order_acquire);
        process_due_events();
        if (woken) ++counters.wakes;
        if (collected_ > 0 || woken || now_ >= deadline) break;
        const time_point next = std::min(deadline, events_.next_time());
        if (next == never) {
            stuck = true;  // wait(never), no event to come, no wake()
            CORO_ASSERT(stuck_is_looked_at,
                        "simulation: nothing can ever happen again: every task waits and no timer "
                        "is set");
            break;
        }
        now_ = next;
    }
    completed_ = nullptr;
}

void sim_poller::wake() noexcept {
    woken_.store(true, std::memory_order_release);
}

void sim_poller::random(void* into, std::size_t size) noexcept {
    random_.fill(into, size);
}

poller_census sim_poller::census() const noexcept {
    return {pending_operations_, open_sockets_, leases_.lent()};
}

}}}  // namespace coro::v0::detail
