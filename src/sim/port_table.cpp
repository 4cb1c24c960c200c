// Who is bound where in the simulated world.
#include "sim/port_table.hpp"

#include <algorithm>
#include <cerrno>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Whether a socket bound to `place` owns `address` too. IPv6's wildcard owns IPv4 unless V6ONLY.
bool covers(const sim_socket& socket, const sim_address& place, const sim_address& address) {
    if (place.ip == address.ip) return true;
    if (!place.is_any()) return false;
    if (place.is_v4()) return address.is_v4();
    return !address.is_v4() || socket.option(socket_option::v6_only) == 0;
}

bool both(const sim_socket& left, const sim_socket& right, socket_option which) {
    return left.option(which) != 0 && right.option(which) != 0;
}

}  // namespace

bool port_table::is_free(const sim_socket& socket, const sim_address& where) const {
    const auto found = ports_.find(where.port);
    if (found == ports_.end()) return true;
    return std::none_of(found->second.begin(), found->second.end(), [&](const sim_socket* other) {
        if (!covers(socket, where, other->local) && !covers(*other, other->local, where)) {
            return false;
        }
        if (both(socket, *other, socket_option::reuse_port)) return false;
        return !both(socket, *other, socket_option::reuse_address) ||
               other->state == sim_state::listening;
    });
}

int port_table::bind(sim_socket& socket, const sim_address& where) {
    if (where.family == address_family::local) {
        if (!paths_.emplace(where.path, &socket).second) return -EADDRINUSE;
        socket.local = where;
    } else {
        sim_address place = where;
        if (place.port == 0) place.port = next_ephemeral();
        if (place.port == 0 || !is_free(socket, place)) return -EADDRINUSE;
        socket.local = place;
        ports_[place.port].push_back(&socket);
    }
    socket.bound = socket.in_port_table = true;
    return 0;
}

void port_table::share(sim_socket& socket) {
    socket.bound = true;
    if (socket.family == address_family::local) return;
    ports_[socket.local.port].push_back(&socket);
    socket.in_port_table = true;
}

int port_table::may_listen(const sim_socket& socket) const {
    if (socket.family == address_family::local) return 0;
    const auto found = ports_.find(socket.local.port);
    if (found == ports_.end()) return 0;
    for (const sim_socket* other : found->second) {
        if (other == &socket || other->state != sim_state::listening) continue;
        const bool overlap = covers(socket, socket.local, other->local) ||
                             covers(*other, other->local, socket.local);
        if (overlap && !both(socket, *other, socket_option::reuse_port)) return -EADDRINUSE;
    }
    return 0;
}

int port_table::bind_client(sim_socket& socket) {
    if (socket.family == address_family::local) return 0;  // stays unnamed: unix(7)
    if (socket.bound) {
        // Bound to a wildcard: the connection settles the address, the port stays.
        if (socket.local.is_any()) socket.local.ip = source_towards(socket.remote).ip;
        return 0;
    }
    sim_address source = source_towards(socket.remote);
    source.port = next_ephemeral();
    if (source.port == 0) return -EADDRNOTAVAIL;
    return bind(socket, source);
}

/// As routing does for an address of the host itself: the source is the destination, except that
/// all of 127.0.0.0/8 is reached from 127.0.0.1.
sim_address port_table::source_towards(const sim_address& to) {
    if (!to.is_v4_loopback()) return to;
    sim_address source = sim_address::loopback(to);
    source.port = to.port;
    return source;
}

void port_table::release(sim_socket& socket) {
    if (!socket.in_port_table) return;
    socket.in_port_table = false;
    if (socket.family == address_family::local) {
        paths_.erase(socket.local.path);
        return;
    }
    const auto found = ports_.find(socket.local.port);
    if (found == ports_.end()) return;
    std::erase(found->second, &socket);
    if (found->second.empty()) ports_.erase(found);
}

sim_socket* port_table::listener_for(const sim_socket& client) const {
    if (client.family == address_family::local) {
        const auto found = paths_.find(client.remote.path);
        const bool listens =
            found != paths_.end() && found->second->state == sim_state::listening;
        return listens ? found->second : nullptr;
    }
    const auto found = ports_.find(client.remote.port);
    if (found == ports_.end()) return nullptr;
    std::vector<sim_socket*> exact;
    std::vector<sim_socket*> wildcard;
    for (sim_socket* candidate : found->second) {
        if (candidate->state != sim_state::listening) continue;
        if (!covers(*candidate, candidate->local, client.remote)) continue;
        (candidate->local.is_any() ? wildcard : exact).push_back(candidate);
    }
    const std::vector<sim_socket*>& best = exact.empty() ? wildcard : exact;
    return best.empty() ? nullptr : best[client.local.port % best.size()];
}

sim_socket* port_table::receiver_for(const sim_address& from, const sim_address& to) const {
    const auto found = ports_.find(to.port);
    if (found == ports_.end()) return nullptr;
    const auto rank = [&](const sim_socket& candidate) {
        if (!covers(candidate, candidate.local, to)) return 0;
        const int exact = candidate.local.is_any() ? 1 : 2;
        if (candidate.state != sim_state::connected) return exact;
        const bool is_peer =
            candidate.remote.ip == from.ip && candidate.remote.port == from.port;
        return is_peer ? exact + 2 : 0;
    };
    int highest = 1;
    std::vector<sim_socket*> best;
    for (sim_socket* candidate : found->second) {
        const int its = rank(*candidate);
        if (its > highest) best.clear();
        highest = std::max(highest, its);
        if (its == highest) best.push_back(candidate);
    }
    // SO_REUSEADDR alone hands the place over to who comes later: socket(7).
    const auto shares = [](const sim_socket* one) {
        return one->option(socket_option::reuse_port) != 0;
    };
    if (best.empty() || !shares(best.back())) return best.empty() ? nullptr : best.back();
    std::erase_if(best, [&](const sim_socket* one) { return !shares(one); });
    return best[from.port % best.size()];
}

std::uint16_t port_table::next_ephemeral() {
    constexpr int all = last_ephemeral - first_ephemeral + 1;
    for (int tried = 0; tried < all; ++tried) {
        const std::uint16_t port = cursor_;
        cursor_ = port == last_ephemeral ? first_ephemeral : static_cast<std::uint16_t>(port + 1);
        if (!ports_.contains(port)) return port;
    }
    return 0;
}

}}}  // namespace coro::v0::detail
