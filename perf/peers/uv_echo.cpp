// Peer: an echo server in libuv, with callbacks.
//
// Run:  uv_echo --port 7000             then connect anything to 127.0.0.1:7000
// All connections share one buffer. What came is sent back at once (uv_try_write); only what the
// peer does not take is copied and queued, and the connection is not read until that is gone.
#include "common/arguments.hpp"
#include "common/failure.hpp"
#include "common/server.hpp"

#include <uv.h>

#include <array>
#include <cstddef>
#include <vector>

namespace {

std::array<char, 65536> shared_buffer;

struct unsent {
    uv_write_t request;
    std::vector<char> bytes;
};

void require(int result, const char* doing) {
    if (result < 0) perf::fail_errno(doing, -result, "report this; it should not happen");
}

void drop(uv_stream_t* peer) {
    uv_close(reinterpret_cast<uv_handle_t*>(peer),
             [](uv_handle_t* closed) { delete reinterpret_cast<uv_tcp_t*>(closed); });
}

void lend(uv_handle_t*, std::size_t, uv_buf_t* lent) {
    *lent = uv_buf_init(shared_buffer.data(), shared_buffer.size());
}

void received(uv_stream_t* peer, ssize_t count, const uv_buf_t* bytes);

void send_rest(uv_stream_t* peer, const char* begin, std::size_t count) {
    auto* rest = new unsent{{}, {begin, begin + count}};
    rest->request.data = rest;
    const uv_buf_t buffer = uv_buf_init(rest->bytes.data(), static_cast<unsigned>(count));
    uv_read_stop(peer);
    require(uv_write(&rest->request, peer, &buffer, 1, [](uv_write_t* request, int status) {
        uv_stream_t* to = request->handle;
        delete static_cast<unsent*>(request->data);
        if (status < 0)
            drop(to);
        else
            uv_read_start(to, lend, received);
    }), "send");
}

void received(uv_stream_t* peer, ssize_t count, const uv_buf_t* bytes) {
    if (count == 0) return;  // EAGAIN
    if (count < 0) {
        drop(peer);
        return;
    }
    uv_buf_t all = uv_buf_init(bytes->base, static_cast<unsigned>(count));
    int sent = uv_try_write(peer, &all, 1);
    if (sent == UV_EAGAIN) sent = 0;
    if (sent < 0)
        drop(peer);
    else if (sent < count)
        send_rest(peer, bytes->base + sent, static_cast<std::size_t>(count - sent));
}

void connected(uv_stream_t* listener, int status) {
    if (status < 0) return;
    auto* peer = new uv_tcp_t;
    uv_tcp_init(listener->loop, peer);
    auto* stream = reinterpret_cast<uv_stream_t*>(peer);
    if (uv_accept(listener, stream) < 0)
        drop(stream);
    else
        uv_read_start(stream, lend, received);
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{perf::port_option};
    const perf::arguments given("uv_echo", options, argc, argv);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int fd = perf::listen_on_loopback(perf::read_port(given), SOCK_NONBLOCK);
    uv_loop_t* loop = uv_default_loop();
    uv_tcp_t listener;
    require(uv_tcp_init(loop, &listener), "make the listener");
    require(uv_tcp_open(&listener, fd), "take the listener");
    require(uv_listen(reinterpret_cast<uv_stream_t*>(&listener), perf::listen_backlog, connected),
            "listen");
    perf::announce(fd);
    return uv_run(loop, UV_RUN_DEFAULT);
}
