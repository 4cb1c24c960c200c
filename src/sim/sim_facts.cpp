// What the simulated network knows of a TCP connection and of the queue of a listener.
#include <algorithm>
#include <cerrno>

#include <coro/net/tcp_info.hpp>

#include "sim/sim_poller.hpp"
#include "sim/sim_world.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// An end is on its way until it has arrived; who has it has acknowledged it, in no time.
net::tcp_state state_of(const sim_socket& socket) {
    using net::tcp_state;
    if (socket.state == sim_state::connecting) return tcp_state::syn_sent;
    if (socket.state != sim_state::connected) return tcp_state::closed;
    if (!socket.shut_sending)
        return socket.end_arrived ? tcp_state::close_wait : tcp_state::established;
    const auto peer = socket.peer.lock();
    const bool acknowledged = !peer || peer->closed || peer->end_arrived;
    if (!socket.end_arrived) return acknowledged ? tcp_state::fin_wait_2 : tcp_state::fin_wait_1;
    return acknowledged ? tcp_state::closed : tcp_state::last_ack;
}

}  // namespace

/// Acknowledged is what has arrived at the peer and fits into its receive buffer: the rest is here.
std::uint64_t sim_poller::acknowledged(const sim_socket& socket) noexcept {
    std::uint64_t under_way = 0;
    if (const socket_pointer peer = socket.peer.lock(); peer && !peer->closed) {
        const auto room = static_cast<std::size_t>(peer->option(socket_option::receive_buffer) / 2);
        under_way = peer->inbound.buffered() - std::min(peer->inbound.visible(), room);
    }
    return socket.sent - under_way;
}

int sim_poller::moved_bytes(detail::handle handle, std::uint64_t& out) noexcept {
    const sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (socket->datagram) return -EOPNOTSUPP;
    out = socket->arrived + acknowledged(*socket);
    return 0;
}

int sim_poller::tcp_facts(detail::handle handle, net::tcp_info& out) noexcept {
    const sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (socket->datagram || socket->family == address_family::local ||
        socket->state == sim_state::listening)
        return -EOPNOTSUPP;
    out = {};
    out.state = state_of(*socket);
    out.rtt = all_.mean_round_trip();
    out.min_rtt = 2 * all_.latency_;
    out.bytes_sent = socket->sent;
    out.bytes_acked = acknowledged(*socket);
    out.bytes_received = socket->arrived;
    out.bytes_retransmitted = 0;  // nothing is lost here
    out.unsent_bytes = 0;         // what was taken is on its way
    if (socket->sent != 0) out.since_data_sent = all_.now_ - socket->data_went;
    out.since_data_received = all_.now_ - socket->data_came;
    if (socket->end_arrived) out.since_ack_received = all_.now_ - socket->end_came;
    return 0;
}

int sim_poller::waiting_clients(detail::handle handle, net::accept_queue& out) noexcept {
    const sim_socket* listener = find(handle);
    if (listener == nullptr) return result_closed;
    if (listener->family == address_family::local || listener->state != sim_state::listening)
        return -EOPNOTSUPP;
    out = {static_cast<std::uint32_t>(listener->accept_queue.size()),
           static_cast<std::uint32_t>(listener->backlog)};
    return 0;
}

}}}  // namespace coro::v0::detail
