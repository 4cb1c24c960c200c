// When is a socket readable?
//
// Run:   build/debug/examples/tcp_truth readable
//
// You see what poll(2) says of a socket with and without data, at its end, after a reset, below a
// low-water mark; and of a listener and a refused connect.
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::readable {

short look(const timeline& line, const raw_socket& socket, const std::string& after,
           short asked = POLLIN | POLLRDHUP) {
    const short events = socket.poll_now(asked);
    line.at("program", after + ": poll says " + names_of_events(events));
    return events;
}

/// A recv(2) that fails, and how.
long receive(const timeline& line, const raw_socket& socket) {
    const long result = socket.try_receive(9);
    line.at("program", "recv returns " + name_of_error(static_cast<int>(-result)));
    return result;
}

void data(const pair_of_sockets& both, timeline& line) {
    const raw_socket& server = both.server;
    const short before = look(line, server, "no data");
    const long nothing = receive(line, server);
    both.client.send("abc");
    until("the bytes are there", [&] { return server.unread() == 3; });
    const short events = look(line, server, "3 bytes");
    const std::string one = server.receive(1);
    const short still = look(line, server, "2 of them left");
    line.holds("A socket is readable while it has bytes, and not before.",
               before == 0 && nothing == -EAGAIN && events == POLLIN && still == POLLIN);
    server.receive(2);
    server.set(SOL_SOCKET, SO_RCVLOWAT, 10);
    both.client.send("123456789");
    until("the bytes are there", [&] { return server.unread() == 9; });
    const short below = look(line, server, "SO_RCVLOWAT 10, 9 bytes");
    both.client.send("0");
    until("the last byte is there", [&] { return server.unread() == 10; });
    const short reached = look(line, server, "SO_RCVLOWAT 10, 10 bytes");
    line.holds("Below the low-water mark it is not readable.", below == 0 && reached == POLLIN);
    server.receive(10);
}

void ends(pair_of_sockets& both, timeline& line) {
    both.client.shutdown();
    until("the FIN is there", [&] { return both.server.is(tcp_state::close_wait); });
    const short events = look(line, both.server, "FIN, low-water mark or not");
    const bool end = both.server.receive(9).empty();
    const short again = look(line, both.server, "recv has returned 0 bytes");
    line.holds("At the end of the stream it is readable for ever, and recv returns 0.",
               (events & POLLIN) != 0 && (events & POLLRDHUP) != 0 && end && again == events);

    pair_of_sockets other;
    other.client.reset();
    until("the RST is there", [&] { return other.server.is(tcp_state::closed); });
    const short reset = look(line, other.server, "RST");
    const long error = receive(line, other.server);
    const long after = other.server.try_receive(9);
    line.at("program", "the next recv returns " + std::to_string(after));
    line.holds("After a reset it is readable, and recv returns the error once, and then 0.",
               (reset & POLLIN) != 0 && error == -ECONNRESET && after == 0);
}

void others(timeline& line) {
    raw_socket listener = listener_of(1);
    const short before = look(line, listener, "a listener, nobody there");
    raw_socket client;
    client.connect(listener.local());
    until("it waits to be accepted", [&] { return listener.queue_depth() == 1; });
    const short after = look(line, listener, "a listener, one in its queue");
    line.holds("A listener is readable when accept would return.", before == 0 && after == POLLIN);

    const address nobody = listener.local();
    listener.close();
    raw_socket refused;
    refused.begin_connect(nobody);
    until("it is refused", [&] { return refused.is(tcp_state::closed); });
    const short events = look(line, refused, "a connect, refused", POLLIN | POLLOUT);
    line.holds("A connect that failed is readable and writable; SO_ERROR says why.",
               (events & POLLIN) != 0 && (events & POLLOUT) != 0 &&
                   refused.take_error() == ECONNREFUSED);
}

void answer(timeline& line) {
    pair_of_sockets both;
    data(both, line);
    ends(both, line);
    others(line);
}

}  // namespace tcp_truth::readable
