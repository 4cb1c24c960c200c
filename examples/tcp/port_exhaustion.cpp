// When does a client run out of ports, and what helps?
//
// Run:   build/debug/examples/tcp_truth port_exhaustion
//
// You see how many connections four ports make, to one server and to two, and what changes when
// closed connections hold the ports.
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "own_network.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::port_exhaustion {

/// 0 for none.
int bind_error(const raw_socket& made, address where) {
    const sockaddr_in raw = where.raw();
    const auto* const name = reinterpret_cast<const sockaddr*>(&raw);
    return ::bind(made.descriptor(), name, sizeof raw) == 0 ? 0 : errno;
}
enum class way { connect_only, bind_first, bind_without_port };

/// Connects until that fails. The connections and the error.
std::pair<std::vector<raw_socket>, int> fill(const raw_socket& server, way how) {
    std::vector<raw_socket> open;
    for (;;) {
        raw_socket made;
        made.set(SOL_SOCKET, SO_LINGER, linger{1, 0});  // its close leaves no TIME_WAIT
        if (how == way::bind_without_port) made.set(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
        int error = how == way::connect_only ? 0 : bind_error(made, {});
        if (error == 0) error = made.connect_error(server.local());
        if (error != 0) return {std::move(open), error};
        open.push_back(std::move(made));
    }
}

void answer(timeline& line) {
    const own_network network;
    const raw_socket server = listener_of(64);
    const raw_socket other_server = listener_of(64);
    network.set("ip_local_port_range", "61000 61003");  // behind those of the servers
    network.set("tcp_tw_reuse", "0");
    const auto both = [&](const char* text, way how) {
        const auto [first, error] = fill(server, how);
        const auto [second, other_error] = fill(other_server, how);
        line.at("client", std::string(text) + std::to_string(first.size()) +
                              " to one server, then " + name_of_error(error) + "; " +
                              std::to_string(second.size()) + " to another");
        return std::vector<int>{int(first.size()), error, int(second.size()), other_error};
    };
    const std::vector<int> eight{4, EADDRNOTAVAIL, 4, EADDRNOTAVAIL};
    line.holds("Four ports make four connections to one server, and four more to another.",
               both("connect: ", way::connect_only) == eight);
    line.holds(
        "With bind before connect they make four in all, to whatever server.",
        both("bind, connect: ", way::bind_first) == std::vector<int>{4, EADDRINUSE, 0, EADDRINUSE});
    line.holds("IP_BIND_ADDRESS_NO_PORT leaves the port to connect: eight again.",
               both("with IP_BIND_ADDRESS_NO_PORT: ", way::bind_without_port) == eight);
    until("the queue is empty", [&] { return !server.try_accept(); });

    for (int i = 0; i < 4; ++i) {
        raw_socket client;
        client.connect(server.local());
        client.close();
        server.accept().close();
    }
    line.at("client", "connected and closed first, four times: four ports are in TIME_WAIT");
    raw_socket client;
    const int blocked = client.connect_error(server.local());
    client.set(SOL_SOCKET, SO_REUSEADDR, 1);
    const int with_option = client.connect_error(server.local());
    line.at("client", "connects: " + name_of_error(blocked) +
                          "; with SO_REUSEADDR: " + name_of_error(with_option));
    line.holds("Connections in TIME_WAIT hold their ports: connect fails with EADDRNOTAVAIL.",
               blocked == EADDRNOTAVAIL);
    line.holds("SO_REUSEADDR does not help connect.", with_option == EADDRNOTAVAIL);
    network.set("tcp_tw_reuse", "1");
    until("a port is taken over", [&] { return client.connect_error(server.local()) == 0; });
    line.at("client", "connects with tcp_tw_reuse=1, as soon as the TIME_WAIT is a second old");
    line.holds("tcp_tw_reuse lets connect take the port of a TIME_WAIT over.",
               client.is(tcp_state::established));

    const bool gone = !std::filesystem::exists("/proc/sys/net/ipv4/tcp_tw_recycle");
    line.at("kernel", gone ? "has no setting tcp_tw_recycle" : "has a setting tcp_tw_recycle");
    line.holds("tcp_tw_recycle does not exist.", gone);
}

}  // namespace tcp_truth::port_exhaustion
