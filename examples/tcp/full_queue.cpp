// What does a client meet when the accept queue is full?
//
// Run:   build/debug/examples/tcp_truth full_queue
//
// You see two clients in the middle of their handshakes, and a queue with room for one of them:
// once with the sysctl tcp_abort_on_overflow 0, once with 1. It needs a network namespace.
#include <array>

#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::full_queue {

constexpr int backlog = 4;

/// A server with one place left, and two clients that both have got its SYN ACK.
struct stage {
    stage(const own_network& network, wire& cable, const timeline& line)
        : listener(network.far([] { return listener_of(backlog, wire::far_host); })) {
        for (const raw_socket& each : before) each.begin_connect(listener.local());
        until("the queue has room for one", [&] {
            cable.carry();
            return listener.queue_depth() == before.size();
        });
        line.at("server", "has room for one more in its queue");
        lucky.begin_connect(listener.local());
        late.begin_connect(listener.local());
        until("both clients are connected", [&] {
            cable.carry(line);
            return lucky.is(tcp_state::established) && late.is(tcp_state::established);
        });
        line.at("clients", "both ESTABLISHED: connect has returned for both");
        until("the queue is full", [&] {
            cable.carry(line);
            return listener.queue_depth() == before.size() + 1;
        });
        line.at("server", "the first ACK took the last place");
    }
    std::array<raw_socket, backlog> before;
    raw_socket lucky;
    raw_socket late;
    raw_socket listener;
};

void silent(const own_network& network, wire& cable, timeline& line) {
    line.at("kernel", "tcp_abort_on_overflow is 0");
    const stage here(network, cable, line);
    here.late.send("hello");
    const auto held_back = [](const packet& each) { return !each.data().empty(); };
    int times = 0;
    until("the client has sent its bytes again", [&] {
        cable.carry([&](const packet& each) {
            if (held_back(each)) {
                wire::show(line, each, times == 0 ? "" : ", again");
                ++times;
            }
            return true;
        });
        return times == 2;
    });
    line.holds("With 0 the client believes that it is connected, and the server ignores it.",
               here.late.is(tcp_state::established) && here.late.unacknowledged() == 5);
    while (here.listener.try_accept()) {
    }
    line.at("server", "accepts all that are in the queue");
    until("the late client's bytes are acknowledged", [&] {
        cable.carry();
        return here.late.unacknowledged() == 0;
    });
    const std::string words = here.listener.accept().receive(100);
    line.at("server", "accepts the late client too, and received \"" + words + "\"");
    line.holds("As soon as there is room, the data that it repeats opens the connection.",
               words == "hello");
}

void loud(const own_network& network, wire& cable, timeline& line) {
    network.far([&] { network.set("tcp_abort_on_overflow", "1"); });
    line.at("kernel", "tcp_abort_on_overflow is 1");
    const stage here(network, cable, line);
    until("the late client is told", [&] {
        cable.carry(line);
        return here.late.is(tcp_state::closed);
    });
    const int error = here.late.take_error();
    line.at("client", "the late one: " + name_of_error(error));
    line.holds("With 1 the client is reset, after its connect has succeeded.",
               error == ECONNRESET);
}

void answer(timeline& line) {
    const own_network network;
    wire cable(network);
    silent(network, cable, line);
    loud(network, cable, line);
}

}  // namespace tcp_truth::full_queue
