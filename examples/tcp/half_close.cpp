// What is a half-closed connection, and when does the reader learn of the end?
//
// Run:   build/debug/examples/tcp_truth half_close
//
// You see a server that ends its direction, and a client that reads what is left and still answers.
// Then one of two descriptors of a connection is closed.
#include <cerrno>

#include "listed_end.hpp"
#include "own_network.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::half_close {

void answer(timeline& line) {
    const own_network network;
    const pair_of_sockets ends;
    const raw_socket& client = ends.client;
    const raw_socket& server = ends.server;
    const listed_end client_end(client);

    server.send("bye");
    server.shutdown(SHUT_WR);
    line.at("server", "sends \"bye\", then shutdown(SHUT_WR), which sends its FIN");
    until("the FIN has come", [&] { return (client.poll_now(POLLRDHUP) & POLLRDHUP) != 0; });
    line.at("client",
            "poll says POLLRDHUP; " + count_of(std::size_t(client.unread()), "byte") + " unread");
    line.holds("Poll tells of the FIN while the bytes before it are still unread.",
               client.unread() == 3);
    client_end.other().wait_until(tcp_state::fin_wait_2);
    line.at("kernel", "client " + client_end.words() + ", server " + client_end.other().words());
    line.holds("The side that has sent its FIN is in FIN_WAIT2, and the other in CLOSE_WAIT.",
               client_end.is(tcp_state::close_wait));

    const std::string first = client.receive(2);
    const std::string second = client.receive(16);
    const bool ended = client.receive(16).empty() && client.receive(16).empty();
    line.at("client", "reads \"" + first + "\", \"" + second + "\", and then 0, again and again");
    line.holds("Reading yields all bytes first, then 0 as often as one asks.",
               first == "by" && second == "e" && ended);

    client.send("thanks");
    const std::string late = server.receive(16);
    line.at("server", "reads \"" + late + "\", after its own FIN");
    line.holds("The other direction still carries bytes.", late == "thanks");
    const long refused = server.try_send("more");
    line.at("server", "sends once more: " + name_of_error(int(-refused)));
    line.holds("The side that has ended its direction cannot send: EPIPE.", refused == -EPIPE);

    const bool half = (client.poll_now(POLLIN) & POLLHUP) == 0;
    client.shutdown(SHUT_WR);
    until("both directions have ended", [&] { return (client.poll_now(POLLIN) & POLLHUP) != 0; });
    line.at("client", "shutdown(SHUT_WR); now poll says POLLHUP");
    line.holds("Poll says POLLHUP only when both directions have ended.", half);

    pair_of_sockets shared;
    const raw_socket copy(checked("dup", ::dup(shared.server.descriptor())));
    shared.server.close();
    line.at("server", "closes one of two descriptors of another connection (dup(2), fork(2))");
    const bool silent = listed_end(copy).is(tcp_state::established);
    copy.shutdown(SHUT_WR);
    const bool heard = shared.client.receive(1).empty();
    line.at("server", "shutdown(SHUT_WR) on the other one");
    line.holds("Close of one of two descriptors sends nothing; shutdown ends the stream at once.",
               silent && heard);
}

}  // namespace tcp_truth::half_close
