// Clock, events and chance of the simulated world, and what becomes of operations.
#include "sim/sim_world.hpp"

#include <algorithm>
#include <system_error>
#include <utility>

#include <coro/base/detail/assert.hpp>

#include "sim/sim_poller.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Not 0, so that a time never set is told from the first instant.
constexpr time_point first_instant{std::chrono::seconds(1)};

}  // namespace

sim_world::sim_world(std::uint64_t seed, const sim::options& options, std::string reason)
    : world(true, seed != 0),
      reason_(std::move(reason)),
      now_(first_instant),
      latency_(options.latency),
      latency_most_(std::max<duration>(options.latency, options.latency_most)),
      chunk_most_(options.chunk_most),
      socket_limit_(options.sockets),
      random_(seed) {}

sim_world::~sim_world() {
    CORO_ASSERT(detached_.empty(), "simulation: a detached connection outlived its world");
}

made_poller sim_world::new_poller(unsigned /*index*/, const poller_terms& terms) {
    made_poller made;
    made.instance = std::make_unique<sim_poller>(*this, terms.options);
    made.reason = reason_;
    return made;
}

thread sim_world::start_thread(const char*, std::function<void()>) {
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                            "a simulation has no threads");
}

// --- chance

std::size_t sim_world::choose(std::size_t among) noexcept {
    if (!is_seeded() || among < 2) return 0;
    return static_cast<std::size_t>(random_.next() % among);
}

duration sim_world::draw_latency() noexcept {
    if (!is_seeded() || latency_most_ == latency_) return latency_;
    const auto span = static_cast<std::uint64_t>((latency_most_ - latency_).count());
    return latency_ + duration(static_cast<duration::rep>(random_.next() % (span + 1)));
}

/// Half of all transfers are whole: a long one would otherwise be cut into more and more pieces.
std::size_t sim_world::draw_chunk(std::size_t size) noexcept {
    const std::size_t most = std::min(size, chunk_most_);
    if (!is_seeded() || most < 2 || random_.next() % 2 == 0) return most;
    return 1 + static_cast<std::size_t>(random_.next() % most);
}

// --- events

void sim_world::after(duration delay, sim_event_kind kind, sim_socket& socket,
                      std::uint32_t amount) {
    events_.push(saturating_add(now_, delay), kind, socket.shared_from_this(), amount);
}

void sim_world::cross(sim_event_kind kind, sim_socket& socket, std::uint32_t amount) {
    socket.last_arrival = std::max(socket.last_arrival, saturating_add(now_, draw_latency()));
    events_.push(socket.last_arrival, kind, socket.shared_from_this(), amount);
}

void sim_world::process_due_events() {
    const std::size_t before = completed_;
    while (completed_ - before < sim_poller::batch && has_due_events()) process(events_.pop());
}

void sim_world::process(const sim_event& event) {
    sim_socket& socket = *event.socket;
    switch (event.kind) {
        case sim_event_kind::bytes_arrive: return bytes_arrive(socket, event.amount);
        case sim_event_kind::end_arrives:
            socket.end_arrived = true;
            socket.end_came = now_;
            return retry_receiver(socket);
        case sim_event_kind::reset_arrives: return reset_arrives(socket);
        case sim_event_kind::datagram_arrives: return datagram_arrives(socket);
        case sim_event_kind::refusal_arrives: return refusal_arrives(socket, event.amount);
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
        case sim_event_kind::close_slot:
            if (socket.receiver != nullptr) complete_receiver(socket, result_closed);
            if (socket.sender != nullptr) complete_sender(socket, result_closed);
            return socket.owner->free_slot(event.amount);
        default: return process_connect(event);
    }
}

/// The events of an attempt to connect: all are void when it was cancelled or closed meanwhile.
void sim_world::process_connect(const sim_event& event) {
    sim_socket& client = *event.socket;
    if (client.state != sim_state::connecting || client.send_ticket != event.amount) return;
    switch (event.kind) {
        case sim_event_kind::connect_arrives: return connect_arrives(client);
        case sim_event_kind::connect_succeeds:
            client.state = sim_state::connected;
            client.data_came = now_;
            return complete_sender(client, 0);
        case sim_event_kind::connect_refused: return connect_fails(client, -ECONNREFUSED);
        case sim_event_kind::connect_expires: return connect_fails(client, -ETIMEDOUT);
        default: CORO_ASSERT(false, "simulation: an event of unknown kind");
    }
}

// --- operations

sim_world::outcome sim_world::attempt(sim_socket& socket, operation& op) {
    const bool transfers = receives(op.code) ? !accepts(op.code) : op.code != opcode::connect;
    if (transfers && socket.datagram != moves_datagram(op.code)) return -EOPNOTSUPP;
    switch (op.code) {
        case opcode::receive:
        case opcode::receive_vectored:
        case opcode::receive_leased: return attempt_receive(socket, op);
        case opcode::send:
        case opcode::send_vectored: return attempt_send(socket, op);
        case opcode::receive_from: return attempt_receive_from(socket, *op.datagram);
        case opcode::send_to: return attempt_send_to(socket, *op.datagram);
        case opcode::accept:
        case opcode::accept_if_waiting: return attempt_accept(socket, op);
        case opcode::connect: return attempt_connect(socket, op);
        case opcode::poll_receive:
        case opcode::poll_send: break;  // watch() makes no handle for them here
    }
    return -EINVAL;
}

void sim_world::complete_receiver(sim_socket& socket, std::int32_t result) noexcept {
    socket.owner->complete(*std::exchange(socket.receiver, nullptr), result);
}

void sim_world::complete_sender(sim_socket& socket, std::int32_t result) noexcept {
    socket.owner->complete(*std::exchange(socket.sender, nullptr), result);
}

void sim_world::retry_receiver(sim_socket& socket) {
    if (socket.receiver == nullptr) return;
    if (const outcome result = attempt(socket, *socket.receiver)) {
        complete_receiver(socket, *result);
    }
}

void sim_world::retry_sender(sim_socket& socket) {
    if (socket.sender == nullptr || socket.sender->code == opcode::connect) return;
    if (const outcome result = attempt(socket, *socket.sender)) complete_sender(socket, *result);
}

// --- connections between two loops

void sim_world::close_detached(detached& gone) noexcept {
    const auto found = detached_.find(gone.token);
    CORO_ASSERT(found != detached_.end(), "simulation: a detached connection is closed twice");
    close_socket(*found->second, gone.by_reset);
    detached_.erase(found);
    --open_sockets_;
}

}}}  // namespace coro::v0::detail
