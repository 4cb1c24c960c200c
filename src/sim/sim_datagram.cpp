// Messages between simulated datagram sockets: what UDP over a network without loss does.
//
// Errors come out as Linux gives them (net/ipv4/udp.c): a refusal is reported once, to whichever
// call comes first, before what has come; an unconnected socket never learns of it.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sim/sim_poller.hpp"
#include "sim/sim_world.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// 65535 less the headers that count in it: of IPv4 its own too.
constexpr std::size_t largest_over_v4 = 65507;
constexpr std::size_t largest_over_v6 = 65527;

/// The address that `sender` has for a receiver at `to`.
sim_address source_of(const sim_socket& sender, const sim_address& to) {
    sim_address from = sender.local;
    if (!from.is_any()) return from;
    from = port_table::source_towards(to);
    from.port = sender.local.port;
    return from;
}

}  // namespace

// --- receiving

sim_world::outcome sim_world::attempt_receive_from(sim_socket& socket, datagram_request& into) {
    poller_counters& counters = socket.owner->counters;
    ++counters.receives;
    if (socket.error != 0) return -std::exchange(socket.error, 0);
    if (socket.received.empty()) {
        ++counters.would_block;
        return std::nullopt;
    }
    const sim_datagram first = std::move(socket.received.front());
    socket.received.pop_front();
    socket.received_weight -= first.weight();
    const std::size_t size = std::min(first.bytes.size(), into.bytes.size);
    if (size != 0) std::memcpy(into.bytes.data, first.bytes.data(), size);
    into.truncated = size < first.bytes.size();
    into.peer = encode_address(first.from);
    return static_cast<std::int32_t>(size);
}

// --- sending

sim_world::outcome sim_world::attempt_send_to(sim_socket& socket, const datagram_request& from) {
    poller_counters& counters = socket.owner->counters;
    ++counters.sends;
    sim_datagram message;
    if (const int error = find_way(socket, from, message); error != 0) return error;
    if (socket.error != 0) return -std::exchange(socket.error, 0);
    const std::size_t weight = sim_datagram::weight_of(from.bytes.size);
    const auto buffer = static_cast<std::size_t>(socket.option(socket_option::send_buffer) / 2);
    if (socket.on_way_weight > 0 && socket.on_way_weight + weight > buffer) {
        ++counters.would_block;
        return std::nullopt;
    }
    const auto* const first = static_cast<const std::byte*>(from.bytes.data);
    if (from.bytes.size != 0) message.bytes.assign(first, first + from.bytes.size);
    socket.on_way_weight += weight;
    socket.on_way.push_back(std::move(message));
    cross(sim_event_kind::datagram_arrives, socket);
    return static_cast<std::int32_t>(from.bytes.size);
}

/// Addresses `out`; 0, or why nothing can be sent there.
int sim_world::find_way(sim_socket& socket, const datagram_request& from, sim_datagram& out) {
    if (from.peer.size == 0) {
        if (socket.state != sim_state::connected) return -EDESTADDRREQ;
        out.to = socket.remote;
    } else if (const int error = place_of_peer(socket, from.peer, out.to); error != 0) {
        return error;
    }
    if (out.to.port == 0) return -EINVAL;
    const std::size_t largest = out.to.is_v4() ? largest_over_v4 : largest_over_v6;
    if (from.bytes.size > largest) return -EMSGSIZE;
    if (!socket.bound) {
        const int error = ports_of(socket).bind(socket, sim_address::any(socket.family));
        if (error != 0) return -EADDRNOTAVAIL;
    }
    out.from = source_of(socket, out.to);
    return 0;
}

/// Who takes it is decided as it arrives. The sender may be closed by now: what it sent comes all
/// the same.
void sim_world::datagram_arrives(sim_socket& sender) {
    sim_datagram message = std::move(sender.on_way.front());
    sender.on_way.pop_front();
    sender.on_way_weight -= message.weight();
    sim_socket* const receiver = datagram_ports_.receiver_for(message.from, message.to);
    if (receiver == nullptr) {
        const bool to_its_peer = sender.state == sim_state::connected &&
                                 sender.remote.ip == message.to.ip &&
                                 sender.remote.port == message.to.port;
        if (to_its_peer && !sender.closed) {
            after(draw_latency(), sim_event_kind::refusal_arrives, sender, sender.connects);
        }
        return retry_sender(sender);
    }
    const auto room =
        static_cast<std::size_t>(receiver->option(socket_option::receive_buffer) / 2);
    const std::size_t weight = message.weight();
    if (receiver->received.empty() || receiver->received_weight + weight <= room) {
        // A receiver of IPv6 sees a sender of IPv4 by its mapped address.
        message.from.family = receiver->family;
        receiver->received_weight += weight;
        receiver->received.push_back(std::move(message));
        retry_receiver(*receiver);
    }
    retry_sender(sender);
}

void sim_world::refusal_arrives(sim_socket& sender, std::uint32_t connects) {
    if (sender.closed || sender.connects != connects) return;
    sender.error = ECONNREFUSED;
    retry_receiver(sender);
    retry_sender(sender);
}

// --- connecting

/// At once: nothing crosses the network. A second connect chooses another peer.
int sim_world::connect_datagram(sim_socket& socket, const sim_address& peer) {
    const sim_address before = std::exchange(socket.remote, peer);
    if (const int error = datagram_ports_.bind_client(socket); error != 0) {
        socket.remote = before;
        return error;
    }
    socket.state = sim_state::connected;
    ++socket.connects;
    return 0;
}

}}}  // namespace coro::v0::detail
