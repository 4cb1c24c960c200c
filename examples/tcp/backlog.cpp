// What does the backlog of listen mean?
//
// Run:   build/debug/examples/tcp_truth backlog
//
// You see a listener with a backlog of 2, which nobody accepts from, and four clients. Then you see
// what becomes of a large backlog. It needs a network namespace.
#include <array>

#include "own_network.hpp"
#include "questions.hpp"

namespace tcp_truth::backlog {

std::string queue_of(const raw_socket& listener) {
    return std::to_string(listener.queue_depth()) + " in the queue, limit " +
           std::to_string(listener.queue_limit());
}

void overflow(timeline& line) {
    const raw_socket listener = listener_of(2);
    line.at("server", "listen(2): " + queue_of(listener));
    std::array<raw_socket, 4> clients;
    for (const raw_socket& each : clients) {
        each.begin_connect(listener.local());
        line.at("client", std::string(name_of(each.state())) + "; " + queue_of(listener));
    }
    const raw_socket& fourth = clients[3];
    const long overflows = own_network::counter("TcpExt", "ListenOverflows");
    const long drops = own_network::counter("TcpExt", "ListenDrops");
    line.at("kernel", "ListenOverflows " + std::to_string(overflows) + ", ListenDrops " +
                          std::to_string(drops) + ": it dropped the SYN of the fourth");
    line.holds("A backlog of 2 lets three connections wait, one more than its number.",
               listener.queue_depth() == 3 && listener.queue_limit() == 2 &&
                   clients[2].is(tcp_state::established));
    line.holds("The SYN of one more client is dropped without an answer, and counted.",
               fourth.is(tcp_state::syn_sent) && overflows >= 1 && drops >= 1);

    const raw_socket first = listener.accept();
    line.at("server", "accepts one: " + queue_of(listener));
    const auto accepted_at = line.since_begin();
    fourth.wait_until(tcp_state::established);
    line.at("client", "the kernel has sent the fourth SYN again: " + queue_of(listener));
    line.holds("When there is room, that client gets in with its next SYN, more than 0.5 s later.",
               (line.since_begin() - accepted_at).count() > 500 && listener.queue_depth() == 3);
}

void limits(const own_network& network, timeline& line) {
    const std::string usual = network.setting("core/somaxconn");
    const raw_socket listener = listener_of(1'000'000);
    const std::string got = std::to_string(listener.queue_limit());
    line.at("server", "listen(1000000): limit " + got + ", as net.core.somaxconn");
    network.set("core/somaxconn", "16");
    listener.listen(1'000'000);
    const auto cut = listener.queue_limit();
    line.at("server", "listen again with somaxconn 16: limit " + std::to_string(cut));
    line.holds("net.core.somaxconn is 4096 by default, and cuts a larger backlog.",
               usual == "4096" && got == usual && cut == 16);
    listener.listen(3);
    line.at("server", "listen(3) on the same socket: limit " +
                          std::to_string(listener.queue_limit()));
    line.holds("A second listen on the same socket changes the limit.",
               listener.queue_limit() == 3);
}

void answer(timeline& line) {
    const own_network network;
    overflow(line);
    limits(network, line);
}

}  // namespace tcp_truth::backlog
