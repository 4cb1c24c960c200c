// The server of gevent's tutorials twice: its handler as a coroutine, and as a fiber next to it.
//
// Run:   build/debug/examples/gevent_server              (port 8088; 0: the kernel chooses one)
//        build/debug/examples/gevent_server 8088 --fibers
// Talk:  nc 127.0.0.1 8088, in several terminals; or build/debug/examples/random_sender
// See:   127.0.0.1:40000 connected...
//        127.0.0.1:40000 - hello
//        127.0.0.1:40000 was disconnected
//        Connections are side by side, and each is sequential. Ctrl-C disconnects all, ends with 0.
//        A connection that fails is one line on stderr, which names the peer. The 1001st client
//        waits for a place, and one that says nothing for ten minutes is put out.
#include <coro/coro.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <span>
#include <string>
#include <utility>

#include "arguments.hpp"
#include "printable.hpp"

using namespace std::chrono_literals;
using coro::net::endpoint;
using coro::net::tcp_stream;

/// The most that one receive takes, and one line shows.
constexpr std::size_t most_bytes = 1024;

std::string text_of(coro::const_bytes received) { return printable(coro::as_text(received)); }

/// A task: it says co_await where it waits.
coro::task<> handle(tcp_stream peer) {
    const std::string who = peer.remote_endpoint().to_string();
    std::printf("%s connected...\n", who.c_str());
    std::array<std::byte, most_bytes> buffer;
    for (;;) {
        const auto count = co_await coro::until_stop(peer.read_some(buffer));
        if (count.value_or(0) == 0) break;  // a stop was requested, or the end of the stream
        std::printf("%s - %s\n", who.c_str(), text_of(std::span(buffer).first(*count)).c_str());
    }
    peer.close();
    std::printf("%s was disconnected\n", who.c_str());
}

/// The same as a plain function on a stack of its own: it says coro::await where it waits.
void handle_in_fiber(tcp_stream peer) {
    const std::string who = peer.remote_endpoint().to_string();
    std::printf("%s connected...\n", who.c_str());
    std::array<std::byte, most_bytes> buffer;
    for (;;) {
        const auto count = coro::await(coro::until_stop(peer.read_some(buffer)));
        if (count.value_or(0) == 0) break;
        std::printf("%s - %s\n", who.c_str(), text_of(std::span(buffer).first(*count)).c_str());
    }
    peer.close();
    std::printf("%s was disconnected\n", who.c_str());
}

coro::task<> serve_on(endpoint where, bool fibers) {
    auto listener = coro::net::tcp_listener::bind(where);
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());

    const coro::server_limits limits{
        .connections = 1'000, .first_byte = 10min, .idle = 10min, .drain = 2s};
    const auto start_fiber = [](tcp_stream peer) -> coro::task<> {
        co_await coro::fiber(handle_in_fiber, std::move(peer));
    };
    if (fibers) co_await coro::serve(listener, start_fiber, {.limits = limits});
    else co_await coro::serve(listener, handle, {.limits = limits});
}

int main(int argc, char** argv) {
    arguments given(argc, argv, "gevent_server [PORT] [--fibers]");
    const bool fibers = given.flag("--fibers");
    const auto where = endpoint::loopback(given.port_to_listen("PORT", 8088));
    given.end();
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // each line at once, also into a pipe
    return coro::run_main(serve_on(where, fibers), {.drain = 3s});
}
