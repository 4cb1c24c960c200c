// How does a program limit the time of connect?
//
// Run:   build/debug/examples/tcp_truth connect_limit
//
// You see four clients of a server that does not answer, each with another limit; then two errors
// for which nobody has to wait. It needs a network namespace.
#include <sys/time.h>

#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::connect_limit {

constexpr int limit_ms = 300;

struct client {
    client(const timeline& line, const char* name, address to)
        : name_(name), to_(to), line_(line), begin_(line.since_begin()) {}

    void begin() const { socket.begin_connect(to_); }
    /// Shows how it ended, after how long; without the close the kernel would go on with SYNs.
    void end(const std::string& how) {
        took = (line_.since_begin() - begin_).count();
        line_.at(name_, how + ", " + decimal(took / 1000) + " s; " + name_of(socket.state()));
        socket.close();
    }
    /// The kernel's own end of it, and its error.
    int wait() {
        until("the kernel gives up", [&] { return socket.is(tcp_state::closed); });
        const int error = socket.take_error();
        end(name_of_error(error));
        return error;
    }

    raw_socket socket;
    double took = 0;

private:
    const char* name_;
    address to_;
    const timeline& line_;
    timeline::milliseconds begin_;
};

void silence(address silent, timeline& line) {
    client few(line, "syncnt", silent);
    few.socket.set(IPPROTO_TCP, TCP_SYNCNT, 1);
    few.begin();
    client user(line, "user", silent);
    user.socket.set(IPPROTO_TCP, TCP_USER_TIMEOUT, limit_ms);
    user.begin();
    client plain(line, "nothing", silent);
    plain.begin();
    line.at("clients", "syncnt, user and nothing call connect for a host that does not answer");

    client polled(line, "poll", silent);
    polled.begin();
    pollfd ready{polled.socket.descriptor(), POLLOUT, 0};
    const int came = checked("poll", ::poll(&ready, 1, limit_ms));
    polled.end("poll returned " + std::to_string(came));
    line.holds("poll(2) with a limit ends in time, and the socket still says SYN_SENT.",
               came == 0 && polled.took >= limit_ms);

    client blocked(line, "sndtimeo", silent);
    blocked.socket.set(SOL_SOCKET, SO_SNDTIMEO, timeval{0, limit_ms * 1000});
    const int in_connect = blocked.socket.connect_error(silent);
    blocked.end(name_of_error(in_connect));
    line.holds("SO_SNDTIMEO limits a connect that blocks; its error is EINPROGRESS.",
               in_connect == EINPROGRESS && blocked.took >= limit_ms);

    line.holds("TCP_USER_TIMEOUT limits connect too, but ends it only when a SYN is due.",
               user.wait() == ETIMEDOUT && user.took > 900);
    line.holds("TCP_SYNCNT counts SYNs and no time: with 1 it is more than two seconds.",
               few.wait() == ETIMEDOUT && few.took > 2000);
    line.at("nothing", std::string(name_of(plain.socket.state())) + ", and will wait on");
    line.holds("Without a limit the kernel waits on.", plain.socket.is(tcp_state::syn_sent));
}

void answer(timeline& line) {
    const own_network network;
    const wire cable(network);  // nobody carries: every packet is lost
    line.at("kernel", "tcp_syn_retries is " + network.setting("tcp_syn_retries"));
    silence({80, wire::far_host}, line);

    const raw_socket closed;
    closed.bind({});
    const int refused = raw_socket().connect_error(closed.local());
    line.at("client", "calls connect for a port where nobody listens: " + name_of_error(refused));
    const int no_way = raw_socket().connect_error({80, 0xc0000201});
    line.at("client", "calls connect for a network without a route: " + name_of_error(no_way));
    line.holds("A refusal and a missing route need no limit: they end connect at once.",
               refused == ECONNREFUSED && no_way == ENETUNREACH);
}

}  // namespace tcp_truth::connect_limit
