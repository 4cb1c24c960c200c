// Is a connection established before the server accepts it?
//
// Run:   build/debug/examples/tcp_truth without_accept
//
// You see a client that connects to a server that does not call accept(2). The client sends and
// closes. Only then the server accepts, and finds all of it.
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::without_accept {

void answer(timeline& line) {
    const raw_socket listener = listener_of(8);
    line.at("server", "listens; it does not call accept");

    raw_socket client;
    client.connect(listener.local());
    const bool established = client.is(tcp_state::established);
    const address clients_own = client.local();
    const std::string state = name_of(client.state());
    line.at("client", "connect has returned; its socket is " + state);
    const auto depth = listener.queue_depth();
    line.at("kernel", count_of(depth, "connection") + " in the queue of the listener");

    const std::size_t sent = client.send("first words");
    line.at("client", "sent " + count_of(sent, "byte"));
    until("the server's kernel has them", [&] { return client.unacknowledged() == 0; });
    line.at("kernel", "acknowledged all of them, although no program of the server has the socket");
    client.close();
    line.at("client", "closed its socket");

    const raw_socket accepted = listener.accept();
    line.at("server", "calls accept only now, and gets the connection");
    const bool same = accepted.peer() == clients_own;
    const std::string words = accepted.receive(100);
    line.at("server", "received " + count_of(words.size(), "byte") + ": \"" + words + "\"");
    const bool ended = accepted.receive(100).empty();
    line.at("server", "received the end of the stream");

    line.holds("connect returns, and the connection is ESTABLISHED, before any accept.",
               established && depth == 1);
    line.holds("The server's kernel acknowledges data that no program has accepted.",
               sent == words.size());
    line.holds("A later accept finds the connection, the data and the end of the stream.",
               same && words == "first words" && ended);
}

}  // namespace tcp_truth::without_accept
