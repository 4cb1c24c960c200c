// Who is bound where in the simulated world: ports, wildcards and local names of one protocol.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sim/sim_socket.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// Every address belongs to this world: one may bind 10.1.2.3 without owning it. A client occupies
/// its ephemeral port whole, so that at most 28 232 of them are connected at once. A kernel, which
/// counts pairs of addresses, allows more. A local name vanishes with the socket bound to it, where
/// a kernel leaves the file.
class port_table {
public:
    static constexpr std::uint16_t first_ephemeral = 32768;
    static constexpr std::uint16_t last_ephemeral = 60999;

    /// Binds `socket` to `where` (port 0: the next ephemeral one). 0 or -EADDRINUSE.
    int bind(sim_socket& socket, const sim_address& where);
    /// Enters a socket that a listener made: it has the listener's address and is in nobody's way
    /// at that moment.
    void share(sim_socket& socket);
    /// Whether another listener is in the way: two sockets may be bound to one place by
    /// SO_REUSEADDR, but only one may listen (socket(7)). 0 or -EADDRINUSE.
    [[nodiscard]] int may_listen(const sim_socket& socket) const;
    /// Chooses the source address of a client that is not bound. 0 or -EADDRNOTAVAIL.
    int bind_client(sim_socket& socket);
    /// The address of this host from which `to` is reached, with the port of `to`.
    [[nodiscard]] static sim_address source_towards(const sim_address& to);
    void release(sim_socket& socket);

    /// The listener that a connect from `client` reaches, or nullptr. Among listeners that share an
    /// address by SO_REUSEPORT the client's port decides.
    [[nodiscard]] sim_socket* listener_for(const sim_socket& client) const;
    /// The datagram socket that takes what `from` sends to `to`, or nullptr. One that is connected
    /// takes nothing of anybody else, and goes before those that are not. Of several in one place
    /// it is the last that was bound; those that share it by SO_REUSEPORT divide the senders.
    [[nodiscard]] sim_socket* receiver_for(const sim_address& from, const sim_address& to) const;
    [[nodiscard]] bool knows_path(const std::string& path) const { return paths_.contains(path); }

private:
    [[nodiscard]] bool is_free(const sim_socket& socket, const sim_address& where) const;
    /// The next ephemeral port at which nobody is bound; 0 when there is none.
    std::uint16_t next_ephemeral();

    std::map<std::uint16_t, std::vector<sim_socket*>> ports_;
    std::map<std::string, sim_socket*> paths_;
    std::uint16_t cursor_ = first_ephemeral;
};

}}}  // namespace coro::v0::detail
