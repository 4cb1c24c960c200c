// Connections in the simulated world: listening, connecting, accepting, closing, addresses.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "sim/sim_poller.hpp"
#include "sim/sim_world.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr duration connect_timeout = std::chrono::seconds(127);
constexpr std::size_t largest_backlog = 4096;  // listen(2), somaxconn

bool queue_is_full(const sim_socket& listener) {
    // Linux holds one connection more than the backlog says.
    return listener.accept_queue.size() > listener.backlog;
}

}  // namespace

// --- listening and accepting

int sim_poller::bind(detail::handle handle, const socket_address& where) noexcept {
    sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    sim_address place;
    if (const int error = decode_address(where, place); error != 0) return error;
    if (place.family != socket->family) return -EAFNOSUPPORT;
    if (socket->bound || socket->state != sim_state::fresh) return -EINVAL;
    return all_.ports_of(*socket).bind(*socket, place);
}

int sim_poller::listen(detail::handle handle, int backlog) noexcept {
    sim_socket* socket = find(handle);
    return socket == nullptr ? std::int32_t{result_closed} : all_.begin_to_listen(*socket, backlog);
}

int sim_world::begin_to_listen(sim_socket& socket, int backlog) {
    if (socket.datagram) return -EOPNOTSUPP;
    if (socket.state != sim_state::fresh && socket.state != sim_state::listening) return -EINVAL;
    if (!socket.bound) {
        if (socket.family == address_family::local) return -EINVAL;
        const int error = ports_.bind(socket, sim_address::any(socket.family));
        if (error != 0) return error;
    }
    if (const int error = ports_.may_listen(socket); error != 0) return error;
    // The kernel reads the number as unsigned: a negative one is the largest.
    socket.backlog = std::min(static_cast<std::size_t>(static_cast<unsigned>(backlog)),
                              largest_backlog);
    socket.state = sim_state::listening;
    return 0;
}

int sim_poller::listen_local(detail::handle handle, const socket_address& where,
                             const local_file& options, file_mark& out) noexcept {
    out = {};
    if (const sim_socket* socket = find(handle); socket != nullptr && socket->datagram)
        return -EOPNOTSUPP;
    if (const int error = bind(handle, where); error != 0) return error;
    return listen(handle, options.backlog);
}

sim_world::outcome sim_world::attempt_accept(sim_socket& listener, operation& op) {
    if (listener.datagram) return -EOPNOTSUPP;
    if (listener.state != sim_state::listening) return -EINVAL;
    if (listener.accept_queue.empty()) {
        return op.code == opcode::accept ? outcome() : outcome(-EAGAIN);
    }
    if (!may_open()) return -EMFILE;  // the connection stays queued, as in a kernel
    socket_pointer taken = std::move(listener.accept_queue.front());
    listener.accept_queue.pop_front();
    ++open_sockets_;
    note_task(taken->notes, op);
    op.accepted = listener.owner->make_slot(std::move(taken));
    if (!listener.waiting.empty()) {
        after(duration::zero(), sim_event_kind::queue_has_room, listener);
    }
    return 0;
}

int sim_poller::close_if_idle(detail::handle handle) noexcept {
    const sim_socket* listener = find(handle);
    if (listener == nullptr) return result_closed;
    if (listener->datagram) return -EOPNOTSUPP;
    if (listener->receiver != nullptr) return -EBUSY;
    if (!listener->accept_queue.empty()) return -EAGAIN;
    close(handle);
    return 0;
}

int sim_poller::shed_connection(detail::handle handle) noexcept {
    sim_socket* listener = find(handle);
    return listener == nullptr ? std::int32_t{result_closed} : all_.shed(*listener);
}

int sim_world::shed(sim_socket& listener) {
    if (listener.datagram) return -EOPNOTSUPP;
    if (listener.state != sim_state::listening) return -EINVAL;
    if (listener.accept_queue.empty()) return -EAGAIN;
    const socket_pointer given_up = std::move(listener.accept_queue.front());
    listener.accept_queue.pop_front();
    close_socket(*given_up, false);
    after(duration::zero(), sim_event_kind::queue_has_room, listener);
    return 0;
}

void sim_world::admit_waiting(sim_socket& listener) {
    while (listener.state == sim_state::listening && !queue_is_full(listener) &&
           !listener.waiting.empty()) {
        const sim_socket::waiting_client first = std::move(listener.waiting.front());
        listener.waiting.pop_front();
        sim_socket& client = *first.socket;
        const bool still_waits =
            client.state == sim_state::connecting && client.send_ticket == first.attempt;
        if (still_waits) establish(listener, client);
    }
}

void sim_world::stop_listening(sim_socket& listener) {
    listener.state = sim_state::fresh;
    for (const socket_pointer& queued : std::exchange(listener.accept_queue, {})) {
        close_socket(*queued, true);  // Linux resets connections that nobody accepted
    }
    for (const auto& waiting : std::exchange(listener.waiting, {})) {
        cross(sim_event_kind::connect_refused, *waiting.socket, waiting.attempt);
    }
    after(duration::zero(), sim_event_kind::try_again, listener);  // ends a pending accept
}

// --- connecting

/// Where `client` means to go: 0, or why it cannot.
int sim_world::place_of_peer(const sim_socket& client, const socket_address& where,
                             sim_address& place) {
    if (const int error = decode_address(where, place); error != 0) return error;
    // A datagram socket of IPv6 takes addresses of IPv4 in their own form.
    const bool mapped = client.datagram && client.family == address_family::ipv6 &&
                        place.family == address_family::ipv4;
    if (mapped) place.family = address_family::ipv6;
    if (place.family != client.family) return -EAFNOSUPPORT;
    if (place.family == address_family::ipv6 && place.is_v4() &&
        client.option(socket_option::v6_only) != 0) {
        return -ENETUNREACH;
    }
    // Linux sets IPV6_V6ONLY where such a socket binds to an address of IPv6 (inet6_bind()).
    if (client.datagram && !client.local.is_any() && client.local.is_v4() != place.is_v4())
        return place.is_v4() ? -ENETUNREACH : -EAFNOSUPPORT;
    if (place.family != address_family::local && place.is_any()) {
        // Linux reads "any" as "this host".
        const std::uint16_t port = std::exchange(place.port, std::uint16_t{0});
        place = sim_address::loopback(place);
        place.port = port;
    }
    return 0;
}

sim_world::outcome sim_world::attempt_connect(sim_socket& client, operation& op) {
    if (client.state != sim_state::fresh && !client.datagram) return -EISCONN;
    sim_address place;
    if (const int error = place_of_peer(client, *op.where, place); error != 0) return error;
    if (client.datagram) return connect_datagram(client, place);
    if (place.family == address_family::local && place.path.empty()) return -EINVAL;
    if (place.family == address_family::local && !ports_.knows_path(place.path)) {
        return place.path.starts_with('\0') ? -ECONNREFUSED : -ENOENT;
    }
    client.remote = place;
    if (const int error = ports_.bind_client(client); error != 0) return error;
    client.state = sim_state::connecting;
    after(draw_latency(), sim_event_kind::connect_arrives, client, client.send_ticket);
    return std::nullopt;
}

void sim_world::connect_arrives(sim_socket& client) {
    sim_socket* listener = ports_.listener_for(client);
    if (listener == nullptr) {
        cross(sim_event_kind::connect_refused, client, client.send_ticket);
    } else if (queue_is_full(*listener)) {
        listener->waiting.push_back({client.shared_from_this(), client.send_ticket});
        // unix(7): a connect to a local listener waits without end.
        if (client.family != address_family::local)
            after(connect_timeout, sim_event_kind::connect_expires, client, client.send_ticket);
    } else {
        establish(*listener, client);
    }
}

void sim_world::establish(sim_socket& listener, sim_socket& client) {
    auto server = std::make_shared<sim_socket>(listener.family);
    server->options = listener.options;
    server->congestion = listener.congestion;
    server->forget_own_options();
    server->state = sim_state::connected;
    server->data_came = now_;
    server->local = client.remote;
    server->remote = client.local;
    // An IPv6 listener shows an IPv4 client by its mapped address.
    server->local.family = server->remote.family = listener.family;
    ports_.share(*server);
    server->peer = client.weak_from_this();
    client.peer = server;
    listener.accept_queue.push_back(std::move(server));
    cross(sim_event_kind::connect_succeeds, client, client.send_ticket);
    retry_receiver(listener);
}

void sim_world::connect_fails(sim_socket& client, std::int32_t result) {
    client.state = sim_state::fresh;
    complete_sender(client, result);
    retry_receiver(client);
}

void sim_world::abandon_connect(sim_socket& client) {
    client.state = sim_state::fresh;
    if (const socket_pointer server = client.peer.lock()) {
        cross(sim_event_kind::reset_arrives, *server);
        // Neither knows of the other any more: the client may connect elsewhere.
        server->peer.reset();
        client.peer.reset();
    }
}

// --- closing

void sim_world::close_socket(sim_socket& socket, bool hard) {
    socket.closed = true;
    ports_of(socket).release(socket);
    if (socket.state == sim_state::listening) stop_listening(socket);
    if (socket.state == sim_state::connecting) abandon_connect(socket);
    const socket_pointer peer = socket.peer.lock();
    if (socket.state == sim_state::connected && peer) {
        // Unread input turns the end into a reset: RFC 2525 §2.17, and what Linux does.
        if (hard || socket.inbound.visible() > 0) {
            cross(sim_event_kind::reset_arrives, *peer);
        } else if (!socket.shut_sending) {
            cross(sim_event_kind::end_arrives, *peer);
        }
    }
    socket.inbound.clear();
    socket.received.clear();
}

// --- addresses

int sim_poller::local_address(detail::handle handle, socket_address& out) noexcept {
    const sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    out = encode_address(socket->local);
    return 0;
}

int sim_poller::remote_address(detail::handle handle, socket_address& out) noexcept {
    const sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (socket->state != sim_state::connected && socket->state != sim_state::reset) {
        return -ENOTCONN;
    }
    out = encode_address(socket->remote);
    return 0;
}

}}}  // namespace coro::v0::detail
