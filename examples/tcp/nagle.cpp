// What do Nagle's algorithm and delayed acknowledgements do together?
//
// Run:   build/debug/examples/tcp_truth nagle
//
// You see a request in two small writes on the wire: by default, with TCP_NODELAY, with TCP_CORK,
// and as one write. It needs a network namespace.
#include <sys/uio.h>

#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::nagle {

/// What became of the two writes.
struct outcome {
    int segments = 0;             ///< with data, until the server had all
    bool waited_for_ack = false;  ///< the second one left only after an ACK of the first
    double until_ack = 0;         ///< milliseconds from the first one until the server's ACK
};

struct connection {
    connection(const own_network& network, wire& cable, std::chrono::milliseconds delay = {}) {
        const raw_socket listener = network.far([] { return listener_of(1, wire::far_host); });
        cable.set_delay(delay);
        client.begin_connect(listener.local());
        until("it is there", [&] { return cable.carry(), listener.readable(); });
        server = listener.accept();
        cable.set_delay({});
        // tcp(7): at the beginning the kernel acknowledges at once, and later it delays the ACK.
        server.set(IPPROTO_TCP, TCP_QUICKACK, 0);
    }
    raw_socket client, server{-1};
};

/// Shows what passes until the server has received the 8 bytes of the request.
outcome watch(const connection& both, wire& cable, const timeline& line) {
    outcome seen;
    double first = 0;
    const auto port = both.client.local().port;
    until("the server has the request", [&] {
        cable.carry([&](const packet& each) {
            const auto clients = each.from_near ? each.port_from() : each.port_to();
            if (clients != port || !cable.is_new(each)) return true;
            wire::show(line, each);
            if (each.from_near && !each.data().empty()) {
                if (++seen.segments == 1) first = line.since_begin().count();
                seen.waited_for_ack = seen.until_ack > 0;
            } else if (!each.from_near && seen.segments == 1) {
                seen.until_ack = line.since_begin().count() - first;
            }
            return true;
        });
        return both.server.unread() == 8;
    });
    line.at("server", "has all 8 bytes");
    return seen;
}

void answer(timeline& line) {
    const own_network network;
    wire cable(network);
    const auto two_writes = [&](const connection& both) {
        for (const char* each : {"head", "body"}) both.client.send(each);
        return watch(both, cable, line);
    };

    // A slow handshake makes the client patient: it repeats nothing before the ACK is here.
    network.set("tcp_early_retrans", "0");
    const connection plain(network, cable, std::chrono::milliseconds(150));
    line.at("client", "writes \"head\" and \"body\", default");
    const outcome usual = two_writes(plain);
    line.holds("By default the second write waits until the first is acknowledged.",
               usual.segments == 2 && usual.waited_for_ack);
    line.holds("The server delays that acknowledgement by more than 20 ms.", usual.until_ack > 20);

    const connection eager(network, cable);
    eager.client.set(IPPROTO_TCP, TCP_NODELAY, 1);
    line.at("client", "the same with TCP_NODELAY");
    const outcome at_once = two_writes(eager);
    line.holds("With TCP_NODELAY both leave at once, as two segments.",
               at_once.segments == 2 && !at_once.waited_for_ack);

    const connection corked(network, cable);
    corked.client.set(IPPROTO_TCP, TCP_CORK, 1);
    line.at("client", "the same with TCP_CORK, which it then removes");
    for (const char* each : {"head", "body"}) corked.client.send(each);
    corked.client.set(IPPROTO_TCP, TCP_CORK, 0);
    const outcome one = watch(corked, cable, line);
    const connection vectored(network, cable);
    line.at("client", "one writev of both, default");
    char head[] = "head", body[] = "body";
    const iovec parts[] = {{head, 4}, {body, 4}};
    checked("writev", ::writev(vectored.client.descriptor(), parts, 2));
    const outcome same = watch(vectored, cable, line);
    line.holds("With TCP_CORK, or as one writev, they leave as one segment.",
               one.segments == 1 && same.segments == 1);
}

}  // namespace tcp_truth::nagle
