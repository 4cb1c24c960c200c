// Through which states do both ends walk when they close?
//
// Run:   build/debug/examples/tcp_truth closing
//
// On loopback most of these states last microseconds. Here each side first fills the buffers of the
// other one: its FIN then waits behind bytes that nobody reads, and so does the state.
#include <cerrno>
#include <string>

#include "listed_end.hpp"
#include "own_network.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::closing {

/// Sends until neither side has room.
void fill(const raw_socket& from) {
    static const std::string bytes(65536, 'x');
    while (from.try_send(bytes) > 0) {
    }
}
void read_all(const raw_socket& from) {
    until("the end of the stream has come", [&] {
        long got = 1;
        while (got > 0)
            got = from.try_receive(65536);
        return got == 0;
    });
}

void answer(timeline& line) {
    const own_network network;
    pair_of_sockets ends;
    const listed_end client(ends.client);
    const listed_end server = client.other();
    const auto both_are = [&](tcp_state one, tcp_state other) {
        until("the states are there", [&] { return client.is(one) && server.is(other); });
        line.at("kernel", "client " + client.words() + ", server " + server.words());
        return true;
    };
    line.holds("After connect and accept both ends are ESTABLISHED.",
               both_are(tcp_state::established, tcp_state::established));

    fill(ends.client);
    fill(ends.server);
    line.at("both", "have sent until there was no room, and read nothing");
    ends.client.shutdown(SHUT_WR);
    line.at("client", "shutdown(SHUT_WR): its FIN waits behind its bytes");
    line.holds("FIN_WAIT1 begins with the call, before the FIN is sent.",
               both_are(tcp_state::fin_wait_1, tcp_state::established));
    read_all(ends.server);
    line.at("server", "reads all, and the end of the stream");
    line.holds("When the FIN has arrived they are FIN_WAIT2 and CLOSE_WAIT.",
               both_are(tcp_state::fin_wait_2, tcp_state::close_wait));
    line.holds("No timer of the kernel ends a FIN_WAIT2 whose program still has the descriptor.",
               client.find()->timer != kernel_timer::time_wait && client.find()->inode != 0);

    ends.server.close();
    line.at("server", "closes: its FIN waits behind its bytes");
    line.holds(
        "After close the server is in LAST_ACK, and has no inode: the kernel finishes alone.",
        both_are(tcp_state::fin_wait_2, tcp_state::last_ack) && server.find()->inode == 0);
    read_all(ends.client);
    client.wait_until(tcp_state::time_wait);
    until("the server's end is gone", [&] { return server.is_gone(); });
    line.at("client", "reads all, and the end of the stream");
    line.at("kernel", "client " + client.words() + ", server " + server.words());
    line.holds("The end that sent its FIN first is in TIME_WAIT, and the other is gone.",
               client.is(tcp_state::time_wait));

    pair_of_sockets crossing;
    const listed_end crossed(crossing.client);
    fill(crossing.client);
    crossing.client.shutdown(SHUT_WR);
    crossing.server.shutdown(SHUT_WR);
    line.at("both",
            "of another connection end their directions; the client's FIN is not there yet");
    crossed.wait_until(tcp_state::closing);
    line.at("kernel", "client " + crossed.words() + ", server " + crossed.other().words());
    line.holds("Who meets a FIN while its own is under way is in CLOSING.",
               crossed.other().is(tcp_state::fin_wait_2));

    pair_of_sockets forgotten;
    const listed_end left(forgotten.server);
    forgotten.client.close();
    left.wait_until(tcp_state::close_wait);
    const auto found = *left.find();
    line.at("client", "of a third connection closes, and its server does not");
    line.at("kernel", std::string("server CLOSE_WAIT, ") +
                          (found.timer == kernel_timer::none ? "no timer" : "a timer"));
    line.holds("A CLOSE_WAIT has no timer: it lasts until its own program closes.",
               found.timer == kernel_timer::none && found.inode != 0);
    forgotten.server.close();
    until("it is gone", [&] { return left.is_gone(); });
    line.at("server", "closes: " + left.words());
}

}  // namespace tcp_truth::closing
