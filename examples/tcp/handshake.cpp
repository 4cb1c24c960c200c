// At which step of the handshake do connect and accept return?
//
// Run:   build/debug/examples/tcp_truth handshake
//
// You see the three segments of the handshake pass one at a time, and after each one what the
// sockets of both sides say. It needs a network namespace.
#include <array>

#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::handshake {

/// What both programs would see now.
struct view {
    bool connected;  ///< the client's connect has returned
    bool accepted;   ///< the server's accept would return
};

view look(const timeline& line, const raw_socket& client, const raw_socket& listener) {
    const view seen{client.writable(), listener.readable()};
    line.at("client", std::string(name_of(client.state())) +
                          (seen.connected ? ", connect returns" : ", connect waits"));
    line.at("server", seen.accepted ? "accept returns" : "accept waits");
    return seen;
}

void answer(timeline& line) {
    const own_network network;
    wire cable(network);
    const raw_socket listener = network.far([] { return listener_of(8, wire::far_host); });
    const raw_socket client;
    client.begin_connect(listener.local());
    line.at("client", "calls connect");
    const view before = look(line, client, listener);

    std::array<view, 3> after{};
    for (view& each : after) {
        // One segment arrives. The answer of that host stays in its end of the cable.
        int passed = 0;
        until("the next segment is there", [&] {
            cable.carry([&](const packet& segment) {
                wire::show(line, segment);
                return ++passed;
            });
            return passed != 0;
        });
        each = look(line, client, listener);
    }
    const raw_socket server = listener.accept();
    line.at("server", std::string("has accepted: ") + name_of(server.state()));

    line.holds("The SYN alone lets neither of them return.",
               !before.connected && !after[0].connected && !after[0].accepted);
    line.holds("connect returns when the SYN ACK is there, and accept still waits.",
               after[1].connected && !after[1].accepted);
    line.holds("accept returns when the ACK of the client is there.", after[2].accepted);
}

}  // namespace tcp_truth::handshake
