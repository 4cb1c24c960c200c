// Who is in TIME_WAIT, for how long, and what does it cost?
//
// Run:   build/debug/examples/tcp_truth time_wait
//
// You see a connection that the client closes first, one that the server closes first, and one that
// a reset ends. Beside them is one that is idle.
#include <cstddef>
#include <string>

#include "listed_end.hpp"
#include "own_network.hpp"
#include "proc_figures.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::time_wait {

std::string words(const listed_end& end) {
    const auto found = end.find();
    if (!found) return "gone";
    return std::string(name_of(found->state)) +
           (found->timer == kernel_timer::none
                ? ", no timer"
                : ", for another " + std::to_string(found->expires_ms) + " ms") +
           (found->inode == 0 ? ", no inode" : ", inode " + std::to_string(found->inode));
}

void answer(timeline& line) {
    const own_network network;
    network.set("tcp_fin_timeout", "10");
    const pair_of_sockets idle;
    const std::size_t open_before = count_entries("/proc/self/fd");
    {
        pair_of_sockets ends;
        const listed_end client(ends.client);
        ends.client.close();
        client.wait_until(tcp_state::fin_wait_2);
        line.at("client", "closes first; it is " + words(client));
        line.holds("A closed end whose peer does not close is in FIN_WAIT2, for tcp_fin_timeout.",
                   client.find()->expires_ms <= 10'000);
        ends.server.close();
        line.at("server", "closes too");
        client.wait_until(tcp_state::time_wait);
        const auto first = *client.find();
        line.at("kernel", "client's end: " + words(client));
        line.at("kernel", "server's end: " + words(client.other()));
        line.holds("The end that closes first is in TIME_WAIT, and nothing is left of the other.",
                   client.other().is_gone());
        line.holds("TIME_WAIT lasts 60 seconds. A tcp_fin_timeout of 10 does not change it.",
                   first.expires_ms > 10'000 && first.expires_ms <= 60'000);
        until("the clock runs", [&] { return client.find()->expires_ms + 10 < first.expires_ms; });
        line.at("kernel", "client's end: " + words(client));
        line.holds("It is no socket of a program: it has no inode and no descriptor.",
                   first.inode == 0 && count_entries("/proc/self/fd") == open_before);
    }
    {
        pair_of_sockets ends;
        const listed_end client(ends.client);
        ends.server.close();
        ends.client.close();
        client.other().wait_until(tcp_state::time_wait);
        line.at("server", "closes first; its end: " + words(client.other()));
        line.holds("A server that closes first has the TIME_WAIT.", client.is_gone());
    }
    {
        pair_of_sockets ends;
        const listed_end client(ends.client);
        ends.client.reset();
        until("the server's end is gone", [&] { return client.other().is_gone(); });
        line.at("client", "resets; its end: " + words(client));
        line.holds("A reset leaves no TIME_WAIT.", client.is_gone());
    }
    const listed_end quiet(idle.client);
    line.at("kernel", "the idle connection: " + words(quiet));
    const auto found = quiet.find();
    line.holds("An idle connection is ESTABLISHED: no timer ends it, and it has a descriptor.",
               found->state == tcp_state::established && found->timer == kernel_timer::none &&
                   found->inode != 0);
    line.at("kernel", "a TIME_WAIT has " + std::to_string(object_size("tw_sock_TCP")) +
                          " bytes, a socket without its queues " +
                          std::to_string(object_size("TCP")) + " (0: for root only)");
}

}  // namespace tcp_truth::time_wait
