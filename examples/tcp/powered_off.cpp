// How long until a program notices that its peer was powered off?
//
// Run:   build/debug/examples/tcp_truth powered_off
//
// You see nine connections when the cable is cut, idle or sending, each with other knobs, and which
// notice it when. Then the peer is back, and knows none of them. It needs a network namespace.
#include <algorithm>

#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::powered_off {

struct connection {
    std::string name;        ///< and all that it has set
    bool sends = false;      ///< has sent something that nobody acknowledges
    bool keepalive = false;  ///< a probe after 1 s of silence, and a second one 1 s later
    bool limit = false;      ///< TCP_USER_TIMEOUT of 2 s
    bool asks = false;       ///< the program wants an answer within 1.5 s
    raw_socket socket{};
    double noticed = 0;  ///< after so many seconds; 0 while it has not
    int error = 0;

    void prepare() const {
        socket.set(SOL_SOCKET, SO_KEEPALIVE, int{keepalive});
        socket.set(IPPROTO_TCP, TCP_KEEPIDLE, 1);
        socket.set(IPPROTO_TCP, TCP_KEEPINTVL, 1);
        socket.set(IPPROTO_TCP, TCP_KEEPCNT, 2);
        if (limit) socket.set(IPPROTO_TCP, TCP_USER_TIMEOUT, 2000);
    }
    void look(double seconds) {
        if (error == 0 && asks && seconds > 1.5) error = ETIMEDOUT;  // the program's own decision
        if (error == 0 && socket.is(tcp_state::closed)) error = socket.take_error();
        if (error != 0 && noticed == 0) noticed = seconds;
    }
};

/// The kernel counts silence from the handshake on, so from `begin`.
void cut(const timeline& line, std::vector<connection>& all, wire& cable, double begin) {
    for (const connection& each : all) each.prepare();
    line.at("wire", "is cut: from here on every packet is lost");
    for (const connection& each : all)
        if (each.sends || each.asks) each.socket.send("ping");
    until("5 connections have noticed, and 4 s are over", [&] {
        cable.lose();
        const double seconds = (line.since_begin().count() - begin) / 1000;
        for (connection& each : all) each.look(seconds);
        return seconds > 4 && std::ranges::count(all, 0, &connection::error) == 4;
    });
    for (const connection& each : all)
        line.at("near", each.name + (each.error == 0 ? "has noticed nothing"
                                         : decimal(each.noticed) + " s, " +
                                               name_of_error(each.error)));
}

void answer(timeline& line) {
    const own_network network;
    wire cable(network);
    raw_socket listener = network.far([] { return listener_of(16, wire::far_host); });
    std::vector<connection> all;
    all.push_back({"idle, nothing set           "});
    all.push_back({"sends, nothing set          ", true});
    all.push_back({"idle, keepalive             ", false, true});
    all.push_back({"sends, keepalive            ", true, true});
    all.push_back({"idle, user timeout          ", false, false, true});
    all.push_back({"sends, user timeout         ", true, false, true});
    all.push_back({"idle, both                  ", false, true, true});
    all.push_back({"sends, both                 ", true, true, true});
    all.push_back({"asks, deadline of its own   ", false, false, false, true});
    std::vector<raw_socket> peers;
    const double begin = line.since_begin().count();
    for (const connection& each : all) {
        each.socket.begin_connect(listener.local());
        until("it is connected", [&] { return cable.carry(), listener.readable(); });
        peers.push_back(listener.accept());
    }
    cut(line, all, cable, begin);
    line.holds("An idle connection without keepalive notices nothing, TCP_USER_TIMEOUT or not.",
               all[0].error == 0 && all[4].error == 0);
    line.holds("Keepalive ends an idle connection after its idle time and all intervals.",
               all[2].error == ETIMEDOUT && all[2].noticed > 2.9);
    line.holds("Keepalive does nothing while sent data is not acknowledged.",
               all[1].error == 0 && all[3].error == 0);
    line.holds("TCP_USER_TIMEOUT ends a connection whose data is not acknowledged for so long.",
               all[5].error == ETIMEDOUT && all[5].noticed > 2);
    line.holds("Both together end it in either case, and a deadline for answers does so too.",
               all[6].error == ETIMEDOUT && all[7].error == ETIMEDOUT && all[8].noticed > 1.5);
    for (raw_socket& each : peers) each.reset();
    listener.close();
    cable.lose();  // what a machine without power does not say
    line.at("far", "has power again, and no connection");
    all[0].socket.send("hello?");
    until("it is told", [&] { return cable.carry(), all[0].socket.is(tcp_state::closed); });
    const int error = all[0].socket.take_error();
    line.at("near", all[0].name + "sends: " + name_of_error(error));
    line.holds("When the peer is back, it answers the next byte by a RST.", error == ECONNRESET);
}

}  // namespace tcp_truth::powered_off
