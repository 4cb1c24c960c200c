// Peer: an echo server in libevent, with its bufferevents.
//
// Run:  libevent_echo --port 7000       then connect anything to 127.0.0.1:7000
// What came is moved from the input to the output without a copy. A peer that does not read is not
// read from either, once 64 KiB wait for it.
#include "common/arguments.hpp"
#include "common/failure.hpp"
#include "common/server.hpp"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <array>
#include <cstddef>

namespace {

constexpr std::size_t most_unsent = 65536;

std::size_t unsent_of(bufferevent* peer) {
    return evbuffer_get_length(bufferevent_get_output(peer));
}

void received(bufferevent* peer, void*) {
    bufferevent_write_buffer(peer, bufferevent_get_input(peer));
    if (unsent_of(peer) > most_unsent) bufferevent_disable(peer, EV_READ);
}

void drained(bufferevent* peer, void*) {
    bufferevent_enable(peer, EV_READ);
}

void drained_at_end(bufferevent* peer, void*) {
    bufferevent_free(peer);
}

void ended(bufferevent* peer, short what, void*) {
    if ((what & BEV_EVENT_EOF) == 0 || unsent_of(peer) == 0) {
        bufferevent_free(peer);
        return;
    }
    bufferevent_setcb(peer, nullptr, drained_at_end, ended, nullptr);
    bufferevent_disable(peer, EV_READ);
}

void connected(evconnlistener* listener, evutil_socket_t fd, sockaddr*, int, void*) {
    bufferevent* peer = bufferevent_socket_new(evconnlistener_get_base(listener), fd,
                                               BEV_OPT_CLOSE_ON_FREE);
    if (peer == nullptr) {
        evutil_closesocket(fd);
        return;
    }
    bufferevent_setcb(peer, received, drained, ended, nullptr);
    bufferevent_enable(peer, EV_READ | EV_WRITE);
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{perf::port_option};
    const perf::arguments given("libevent_echo", options, argc, argv);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int fd = perf::listen_on_loopback(perf::read_port(given), SOCK_NONBLOCK);
    event_base* base = event_base_new();
    if (base == nullptr) perf::fail("make the loop: libevent refused; raise ulimit -n");
    evconnlistener* listener =
        evconnlistener_new(base, connected, nullptr, LEV_OPT_CLOSE_ON_FREE, -1, fd);
    if (listener == nullptr) perf::fail("take the listener: libevent refused; raise ulimit -n");
    perf::announce(fd);
    return event_base_dispatch(base);
}
