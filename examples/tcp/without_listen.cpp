// Can there be a connection without a listener?
//
// Run:   build/debug/examples/tcp_truth without_listen
//
// You see a socket that connects to itself, a client that does so by accident, and two sockets that
// call connect for each other at the same time. It needs a network namespace.
#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::without_listen {

/// A socket with an address of its own connects to that address.
void on_purpose(timeline& line) {
    const raw_socket alone;
    alone.bind({});
    alone.connect(alone.local());
    line.at("self", std::string("bound and connected to its own port: ") + name_of(alone.state()));
    alone.send("echo?");
    const std::string words = alone.receive(100);
    line.at("self", "sent 5 bytes and received \"" + words + "\"");
    line.holds("A socket can connect to itself, and receives what it sends.",
               alone.peer() == alone.local() && words == "echo?");
}

/// A client without an address of its own, and a server that is down. Here the kernel may choose
/// among few ports; with the usual range it takes some ten thousand attempts.
void by_accident(const own_network& network, timeline& line) {
    network.set("ip_local_port_range", "40000 40000");
    const raw_socket client;
    const int error = client.connect_error({40000});
    line.at("client", "calls connect for port 40000, where nobody listens: " +
                          (error == 0 ? "connected" : name_of_error(error)));
    line.at("kernel", "had chosen port " + std::to_string(client.local().port) + " for the client");
    line.holds("A client whose server is down may connect to itself by accident.",
               error == 0 && client.local() == client.peer());
}

/// RFC 9293 §3.5, figure 7: two SYNs pass each other.
void at_once(const own_network& network, wire& cable, timeline& line) {
    const raw_socket near;
    near.bind({1001, wire::near_host});
    const raw_socket far = network.far([] { return raw_socket(); });
    far.bind({1002, wire::far_host});
    near.begin_connect(far.local());
    far.begin_connect(near.local());
    line.at("near", "calls connect");
    line.at("far", "calls connect");
    bool received_syns = false;
    until("both are connected", [&] {
        cable.carry(line);
        received_syns |= near.is(tcp_state::syn_received) && far.is(tcp_state::syn_received);
        return near.is(tcp_state::established) && far.is(tcp_state::established);
    });
    line.at("near", name_of(near.state()));
    line.at("far", name_of(far.state()));
    near.send("from near");
    until("the bytes are there", [&] { return cable.carry(), far.readable(); });
    line.holds("Two sockets that connect to each other at the same time make one connection.",
               received_syns && far.receive(100) == "from near");
}

void answer(timeline& line) {
    const own_network network;
    wire cable(network);
    on_purpose(line);
    at_once(network, cable, line);
    by_accident(network, line);
}

}  // namespace tcp_truth::without_listen
