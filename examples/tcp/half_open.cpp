// What are the SYN queue and SYN cookies?
//
// Run:   build/debug/examples/tcp_truth half_open
//
// You see clients that send a SYN and never the last ACK, until the listener remembers no more; and
// one that does send it, with the sysctl tcp_syncookies 0 and 1. It needs a network namespace.
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::half_open {

constexpr std::size_t backlog = 4;

/// How many connections of a listener are in SYN_RECV, by proc_net_tcp.rst.
std::size_t half_open_of(const raw_socket& listener) {
    std::ifstream file("/proc/net/tcp");
    std::size_t count = 0;
    for (std::string row; std::getline(file, row);) {
        std::istringstream fields(row);
        std::string number, local, remote, state;
        fields >> number >> local >> remote >> state;
        const std::size_t colon = local.find(':');
        if (state == "03" && std::stoul(local.substr(colon + 1), nullptr, 16) ==
                                 listener.local().port)
            ++count;
    }
    return count;
}

struct outcome {
    std::size_t remembered;
    bool honest_is_connected;
    long cookies;
};

outcome flood(const own_network& network, wire& cable, const timeline& line, const char* cookies) {
    network.set("tcp_syncookies", cookies);
    line.at("kernel", std::string("tcp_syncookies is ") + cookies);
    const raw_socket listener = listener_of(backlog, wire::near_host);
    const auto client = [&] { return network.far([] { return raw_socket(); }); };

    std::vector<raw_socket> silent;
    for (std::size_t i = 0; i != 2 * backlog; ++i) {
        silent.push_back(client());
        silent.back().begin_connect(listener.local());
    }
    line.at("clients", std::to_string(silent.size()) + " send a SYN, and will not send the ACK");
    std::size_t syns = 0;
    until("the server has all SYNs", [&] {
        cable.carry([&](const packet& each) {
            syns += !each.from_near;
            return !each.from_near;  // what the server says is lost, so no ACK comes back
        });
        return syns >= silent.size();
    });
    const std::size_t remembered = half_open_of(listener);
    line.at("server", "remembers " + count_of(remembered, "half-open connection"));

    const raw_socket honest = client();
    honest.begin_connect(listener.local());
    const auto port = honest.local().port;
    std::size_t tries = 0;
    until("the honest client is connected or, without cookies, has tried twice", [&] {
        cable.carry([&](const packet& each) {
            const bool own = (each.from_near ? each.port_to() : each.port_from()) == port;
            if (own) wire::show(line, each);
            tries += own && !each.from_near && each.syn();
            return own;
        });
        return listener.readable() || (*cookies == '0' && tries >= 2);
    });
    line.at("client", std::string("the honest one: ") + name_of(honest.state()));
    return {remembered, honest.is(tcp_state::established),
            own_network::counter("TcpExt", "SyncookiesSent")};
}

void answer(timeline& line) {
    const own_network network;
    wire cable(network);
    const outcome without = flood(network, cable, line, "0");
    const outcome with = flood(network, cable, line, "1");
    line.holds("A listener remembers no more half-open connections than its backlog and one more.",
               without.remembered >= backlog && without.remembered <= backlog + 1 &&
                   with.remembered == without.remembered);
    line.holds("Without cookies a full SYN queue ignores honest clients.",
               !without.honest_is_connected && without.cookies == 0);
    line.holds("With cookies an honest client is connected although the queue is full.",
               with.honest_is_connected && with.cookies > 0);
}

}  // namespace tcp_truth::half_open
