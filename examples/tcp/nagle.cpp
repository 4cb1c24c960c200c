// What do Nagle's algorithm and delayed acknowledgements do together?
//
// Run:   build/debug/examples/tcp_truth nagle
//
// You see a request in two small writes on the wire: as the kernel does by default, with
// TCP_NODELAY, with TCP_CORK, and as one write. It needs a network namespace.
#include <sys/uio.h>

#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::nagle {

/// What became of the two writes.
struct outcome {
    int segments = 0;           ///< with data, until the server had all
    bool waited_for_ack = false;  ///< the second one left only after an ACK of the first
    double until_ack = 0;       ///< milliseconds from the first segment until the server's ACK
};

struct connection {
    connection(const own_network& network, wire& cable) {
        const raw_socket listener = network.far([] { return listener_of(1, wire::far_host); });
        client.begin_connect(listener.local());
        until("the connection is there", [&] { return cable.carry(), listener.readable(); });
        server = listener.accept();
        // tcp(7): at the beginning the kernel acknowledges at once; later, as here, it waits for a
        // while, because an answer of the program could take the ACK with it.
        server.set(IPPROTO_TCP, TCP_QUICKACK, 0);
    }
    raw_socket client;
    raw_socket server{-1};
};

/// Shows what passes until the server has received `size` bytes.
outcome watch(const connection& both, wire& cable, const timeline& line, int size) {
    outcome seen;
    double first = 0;
    until("the server has the request", [&] {
        cable.carry([&](const packet& each) {
            if (!cable.is_new(each)) return true;
            wire::show(line, each);
            if (each.from_near && !each.data().empty()) {
                if (++seen.segments == 1) first = line.since_begin().count();
                seen.waited_for_ack = seen.segments == 2 && seen.until_ack > 0;
            } else if (!each.from_near && seen.segments == 1) {
                seen.until_ack = line.since_begin().count() - first;
            }
            return true;
        });
        return both.server.unread() == size;
    });
    line.at("server", "has all " + count_of(static_cast<std::size_t>(size), "byte"));
    return seen;
}

void answer(timeline& line) {
    const own_network network;
    wire cable(network);
    const auto two_writes = [&](const connection& both) {
        both.client.send("head");
        both.client.send("body");
        line.at("client", "has written \"head\" and \"body\"");
        return watch(both, cable, line, 8);
    };

    const connection plain(network, cable);
    line.at("client", "default");
    const outcome usual = two_writes(plain);
    line.holds("By default the second write waits until the first is acknowledged.",
               usual.segments == 2 && usual.waited_for_ack);
    line.holds("The server delays that acknowledgement by more than 20 ms.", usual.until_ack > 20);

    const connection eager(network, cable);
    eager.client.set(IPPROTO_TCP, TCP_NODELAY, 1);
    line.at("client", "TCP_NODELAY");
    const outcome at_once = two_writes(eager);
    line.holds("With TCP_NODELAY both leave at once, as two segments.",
               at_once.segments == 2 && !at_once.waited_for_ack);

    const connection corked(network, cable);
    corked.client.set(IPPROTO_TCP, TCP_CORK, 1);
    line.at("client", "TCP_CORK, and removes it after the writes");
    corked.client.send("head");
    corked.client.send("body");
    corked.client.set(IPPROTO_TCP, TCP_CORK, 0);
    const outcome one = watch(corked, cable, line, 8);

    const connection vectored(network, cable);
    line.at("client", "one writev of both, default");
    const iovec parts[] = {{const_cast<char*>("head"), 4}, {const_cast<char*>("body"), 4}};
    checked("writev", ::writev(vectored.client.descriptor(), parts, 2));
    const outcome same = watch(vectored, cable, line, 8);
    line.holds("With TCP_CORK, or as one writev, they leave as one segment.",
               one.segments == 1 && same.segments == 1);
}

}  // namespace tcp_truth::nagle
