// Bytes between simulated sockets: receiving, sending, ends and resets.
//
// Errors come out as Linux gives them (net/ipv4/tcp.c, tcp_input.c): a reset is reported once, to
// whichever call comes first, as ECONNRESET, or as EPIPE when the end of stream had come before it;
// then receives answer 0 and sends EPIPE. Bytes that had arrived before the reset are still read.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "sim/sim_poller.hpp"
#include "sim/sim_world.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Calls `each(pointer, size)` for the pieces of the operation's buffers, at most `most` bytes.
template <typename Each>
void for_each_piece(const operation& op, bool vectored, std::size_t most, Each each) {
    if (!vectored) {
        each(op.buffer.data, std::min(op.buffer.size, most));
        return;
    }
    for (const io_slice& slice : std::span(op.slices.first, op.slices.count)) {
        const std::size_t part = std::min(slice.size, most);
        each(slice.data, part);
        most -= part;
    }
}

std::size_t wanted(const operation& op, bool vectored) {
    if (op.code == opcode::receive_leased) return op.most == 0 ? most_bytes_at_once : op.most;
    std::size_t total = 0;
    for_each_piece(op, vectored, most_bytes_at_once,
                   [&](void*, std::size_t part) { total += part; });
    return total;
}

}  // namespace

// --- receiving

sim_world::outcome sim_world::attempt_receive(sim_socket& socket, operation& op) {
    poller_counters& counters = socket.owner->counters;
    ++counters.receives;
    if (op.code == opcode::receive_leased) op.lease_data = nullptr;
    if (socket.inbound.visible() > 0) return take_bytes(socket, op);
    const outcome result = nothing_to_receive(socket);
    if (!result) ++counters.would_block;
    return result;
}

/// The order of these questions is the kernel's: an end hides an error that came after it.
sim_world::outcome sim_world::nothing_to_receive(sim_socket& socket) noexcept {
    if (socket.end_arrived) return 0;
    if (socket.error != 0) return -std::exchange(socket.error, 0);
    if (socket.state == sim_state::reset || socket.shut_receiving) return 0;
    if (socket.state == sim_state::fresh || socket.state == sim_state::listening) return -ENOTCONN;
    return std::nullopt;
}

int sim_poller::has_input(detail::handle handle, bool& out) noexcept {
    const sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (socket->datagram || socket->state == sim_state::listening) return -EOPNOTSUPP;
    out = socket->receiver != nullptr || socket->inbound.visible() > 0 || socket->end_arrived ||
          socket->error != 0 || socket->shut_receiving || socket->state != sim_state::connected;
    return 0;
}

int sim_poller::has_peer_ended(detail::handle handle, bool& out) noexcept {
    const sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (socket->datagram || socket->state == sim_state::listening) return -EOPNOTSUPP;
    out = socket->end_arrived || socket->error != 0 || socket->shut_receiving ||
          socket->state != sim_state::connected;
    return 0;
}

std::int32_t sim_world::take_bytes(sim_socket& socket, operation& op) {
    const bool vectored = op.code == opcode::receive_vectored;
    std::size_t size = draw_chunk(std::min(wanted(op, vectored), socket.inbound.visible()));
    if (op.code == opcode::receive_leased) {
        lease_pool& leases = socket.owner->leases_;
        lease_pool::lease lease;
        if (!leases.take(lease)) return result_limit;
        size = std::min(size, leases.buffer_bytes());
        socket.inbound.take(lease.data, size);
        op.lease_data = lease.data;
        op.lease_id = lease.id;
        op.lease_from_heap = lease.from_heap;
    } else {
        for_each_piece(op, vectored, size, [&](void* into, std::size_t part) {
            socket.inbound.take(into, part);
        });
    }
    const socket_pointer peer = socket.peer.lock();
    if (peer && peer->sender != nullptr) after(draw_latency(), sim_event_kind::try_again, *peer);
    return static_cast<std::int32_t>(size);
}

void sim_world::bytes_arrive(sim_socket& socket, std::size_t size) {
    if (socket.closed) {
        const socket_pointer peer = socket.peer.lock();
        if (peer) cross(sim_event_kind::reset_arrives, *peer);
        return;
    }
    if (socket.state == sim_state::reset) return;
    socket.inbound.reveal(size);
    socket.arrived += size;
    socket.data_came = now_;
    retry_receiver(socket);
}

void sim_world::reset_arrives(sim_socket& socket) {
    if (socket.closed || socket.state != sim_state::connected) return;
    socket.state = sim_state::reset;
    socket.error = socket.end_arrived ? EPIPE : ECONNRESET;
    retry_receiver(socket);
    retry_sender(socket);
}

// --- sending

std::size_t sim_world::room_at(const sim_socket& sender, const sim_socket& peer) {
    // Both options are stored doubled, as the kernel answers them; half of each is for bytes.
    const int halves = sender.option(socket_option::send_buffer) / 2 +
                       peer.option(socket_option::receive_buffer) / 2;
    const auto capacity = static_cast<std::size_t>(halves);
    return capacity - std::min(capacity, peer.inbound.buffered());
}

sim_world::outcome sim_world::attempt_send(sim_socket& socket, operation& op) {
    poller_counters& counters = socket.owner->counters;
    ++counters.sends;
    if (socket.error != 0) return -std::exchange(socket.error, 0);
    if (socket.state != sim_state::connected || socket.shut_sending) return -EPIPE;
    std::size_t size = wanted(op, op.code == opcode::send_vectored);
    const socket_pointer peer = socket.peer.lock();
    if (!peer || peer->closed) {
        // The host of a closed socket takes the bytes and answers them with a reset. Until that is
        // here the sender cannot know; it has a buffer for what nobody acknowledges, and no more.
        const auto buffer = static_cast<std::size_t>(socket.option(socket_option::send_buffer));
        if (socket.lost >= buffer && size > 0) {
            ++counters.would_block;
            return std::nullopt;
        }
        size = std::min(size, buffer - std::min(buffer, socket.lost));
        socket.lost += size;
        // There and back, and behind all that the peer had sent before it was closed.
        const duration both = draw_latency() + draw_latency();
        socket.last_arrival = std::max(socket.last_arrival, saturating_add(now_, both));
        events_.push(socket.last_arrival, sim_event_kind::reset_arrives,
                     socket.shared_from_this(), 0);
    } else {
        const std::size_t room = room_at(socket, *peer);
        if (room == 0 && size > 0) {
            ++counters.would_block;
            return std::nullopt;
        }
        size = draw_chunk(std::min(size, room));
        put_bytes(*peer, op, size);
    }
    socket.sent += size;
    socket.data_went = now_;
    return static_cast<std::int32_t>(size);
}

void sim_world::put_bytes(sim_socket& peer, const operation& op, std::size_t size) {
    if (size == 0) return;
    for_each_piece(op, op.code == opcode::send_vectored, size,
                   [&](const void* from, std::size_t part) { peer.inbound.append(from, part); });
    cross(sim_event_kind::bytes_arrive, peer, static_cast<std::uint32_t>(size));
}

std::size_t sim_poller::lend(operation& op) noexcept {
    lease_pool::lease lease;
    if (!leases_.take(lease)) return 0;
    op.lease_data = lease.data;
    op.lease_id = lease.id;
    op.lease_from_heap = lease.from_heap;
    return leases_.buffer_bytes();
}

void sim_poller::return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept {
    leases_.give_back({lease_id, static_cast<std::byte*>(data), from_heap});
}

int sim_poller::shutdown(detail::handle handle, shutdown_how how) noexcept {
    sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    return all_.shut_down(*socket, how);
}

int sim_world::shut_down(sim_socket& socket, shutdown_how how) {
    if (socket.datagram) return -EOPNOTSUPP;
    const bool receiving = how != shutdown_how::send;
    const bool sending = how != shutdown_how::receive;
    if (socket.state == sim_state::listening) {
        // Linux: shutting a listener's receiving side ends listening; its sending side is nothing.
        if (receiving) stop_listening(socket);
        return 0;
    }
    if (socket.state != sim_state::connected) return -ENOTCONN;
    if (receiving) socket.shut_receiving = true;
    if (sending && !std::exchange(socket.shut_sending, true)) {
        const socket_pointer peer = socket.peer.lock();
        if (peer) cross(sim_event_kind::end_arrives, *peer);
    }
    after(duration::zero(), sim_event_kind::try_again, socket);
    return 0;
}

}}}  // namespace coro::v0::detail
