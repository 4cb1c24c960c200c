// Peer: an echo server in libevent, with its events, recv and send.
//
// Run:  libevent_echo --port 7000       then connect anything to 127.0.0.1:7000
// Its bufferevents would cost more: a message walks through two buffers, and a write waits for an
// event. Here all connections share one buffer, and what came is sent back at once. Only what the
// peer does not take is kept, and the connection is not read until that is gone. The loop hands
// changes of interest to the kernel once a turn (EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST), which is
// safe here: no descriptor is duplicated.
#include "common/arguments.hpp"
#include "common/failure.hpp"
#include "common/server.hpp"

#include <event2/event.h>
#include <event2/listener.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

namespace {

std::array<char, 65536> shared_buffer;

struct connection {
    evutil_socket_t fd;
    event* readable = nullptr;
    event* writable = nullptr;
    std::vector<char> rest = {};
};

void drop(connection* peer) {
    if (peer->readable != nullptr) event_free(peer->readable);
    if (peer->writable != nullptr) event_free(peer->writable);
    evutil_closesocket(peer->fd);
    delete peer;
}

bool is_passing(int error) {
    return error == EAGAIN || error == EINTR;
}

/// How many bytes the socket took: 0 when it is full, below 0 when the connection is lost.
ssize_t send_some(const connection* peer, const char* begin, std::size_t count) {
    const ssize_t sent = send(peer->fd, begin, count, MSG_NOSIGNAL);
    return sent < 0 && is_passing(errno) ? 0 : sent;
}

void received(evutil_socket_t fd, short, void* of) {
    auto* peer = static_cast<connection*>(of);
    const ssize_t count = recv(fd, shared_buffer.data(), shared_buffer.size(), 0);
    if (count < 0 && is_passing(errno)) return;
    const ssize_t sent = count <= 0 ? -1
                                    : send_some(peer, shared_buffer.data(),
                                                static_cast<std::size_t>(count));
    if (sent < 0) {
        drop(peer);
    } else if (sent < count) {
        peer->rest.assign(shared_buffer.data() + sent, shared_buffer.data() + count);
        event_del(peer->readable);
        event_add(peer->writable, nullptr);
    }
}

void has_room(evutil_socket_t, short, void* of) {
    auto* peer = static_cast<connection*>(of);
    const ssize_t sent = send_some(peer, peer->rest.data(), peer->rest.size());
    if (sent < 0) {
        drop(peer);
        return;
    }
    peer->rest.erase(peer->rest.begin(), peer->rest.begin() + sent);
    if (!peer->rest.empty()) return;
    event_del(peer->writable);
    event_add(peer->readable, nullptr);
}

void connected(evconnlistener* listener, evutil_socket_t fd, sockaddr*, int, void*) {
    event_base* base = evconnlistener_get_base(listener);
    auto* peer = new connection{.fd = fd};
    peer->readable = event_new(base, fd, EV_READ | EV_PERSIST, received, peer);
    peer->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, has_room, peer);
    const bool watched = peer->readable != nullptr && peer->writable != nullptr &&
                         event_add(peer->readable, nullptr) == 0;
    if (!watched) drop(peer);
}

event_base* make_base() {
    event_config* wanted = event_config_new();
    if (wanted == nullptr) return nullptr;
    event_config_set_flag(wanted, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    event_config_set_flag(wanted, EVENT_BASE_FLAG_NOLOCK);
    event_base* base = event_base_new_with_config(wanted);
    event_config_free(wanted);
    return base;
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{perf::port_option};
    const perf::arguments given("libevent_echo", options, argc, argv);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int fd = perf::listen_on_loopback(perf::read_port(given), SOCK_NONBLOCK);
    event_base* base = make_base();
    if (base == nullptr) perf::fail("make the loop: libevent refused; raise ulimit -n");
    evconnlistener* listener =
        evconnlistener_new(base, connected, nullptr, LEV_OPT_CLOSE_ON_FREE, -1, fd);
    if (listener == nullptr) perf::fail("take the listener: libevent refused; raise ulimit -n");
    perf::announce(fd);
    return event_base_dispatch(base);
}
