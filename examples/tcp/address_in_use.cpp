// Why can a server that begins again not bind its port, and what does SO_REUSEADDR change?
//
// Run:   build/debug/examples/tcp_truth address_in_use
//
// You see servers that end with a connection in TIME_WAIT and bind their port again, with and
// without the option, before and after. Then a client that closes and connects again, at once.
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "listed_end.hpp"
#include "own_network.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::address_in_use {

/// The error of bind and listen, 0 for none.
int listen_error(const raw_socket& made, address where) {
    const sockaddr_in raw = where.raw();
    const auto* const name = reinterpret_cast<const sockaddr*>(&raw);
    const bool bound = ::bind(made.descriptor(), name, sizeof raw) == 0;
    return bound && ::listen(made.descriptor(), 8) == 0 ? 0 : errno;
}
raw_socket socket_with(bool reuse) {
    raw_socket made;
    made.set(SOL_SOCKET, SO_REUSEADDR, int{reuse});
    return made;
}

/// A server closes a connection first, ends, and begins again at the same port: the error.
int begin_again(bool reuse_before, bool reuse_now) {
    raw_socket server = socket_with(reuse_before);
    server.bind({});
    server.listen(8);
    const address where = server.local();
    raw_socket client;
    client.connect(where);
    const listed_end left = listed_end(client).other();
    server.accept().close();
    client.close();
    server.close();
    left.wait_until(tcp_state::time_wait);
    return listen_error(socket_with(reuse_now), where);
}

void answer(timeline& line) {
    const own_network network;
    const auto words = [](int error) { return error == 0 ? "listens" : name_of_error(error); };
    const int never = begin_again(false, false);
    const int before = begin_again(true, false);
    const int now = begin_again(false, true);
    const int both = begin_again(true, true);
    line.at("server", "ends with a TIME_WAIT, and begins again: " + words(never));
    line.at("server", "SO_REUSEADDR on the listener before: " + words(before));
    line.at("server", "SO_REUSEADDR on the listener now: " + words(now));
    line.at("server", "SO_REUSEADDR on both: " + words(both));
    line.holds("A TIME_WAIT at the port of a server makes its next bind fail with EADDRINUSE.",
               never == EADDRINUSE);
    line.holds("SO_REUSEADDR helps when the old and the new listener have it, and only then.",
               before == EADDRINUSE && now == EADDRINUSE && both == 0);

    const raw_socket living = socket_with(true);
    living.bind({});
    living.listen(8);
    const int second = listen_error(socket_with(true), living.local());
    line.at("server",
            "a second listener beside the first, both with SO_REUSEADDR: " + words(second));
    line.holds("Two listeners on one address stay impossible.", second == EADDRINUSE);

    const raw_socket every = socket_with(true);
    const int other = listen_error(every, {living.local().port, INADDR_LOOPBACK + 1});
    line.at("server", "at 127.0.0.2, with the same port: " + words(other));
    line.holds("Another address is another matter: the same port serves there.", other == 0);

    int failed = 0;
    for (int i = 0; i < 100; ++i) {
        raw_socket client;
        failed += int{client.connect_error(living.local()) != 0};
        client.close();
        living.accept().close();
    }
    line.at("client", "connects and closes, 100 times without a pause: " + std::to_string(failed) +
                          " have failed");
    line.holds("A client can connect again at once: it gets another port.", failed == 0);
}

}  // namespace tcp_truth::address_in_use
