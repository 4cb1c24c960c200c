// A client of an echo server: sends each text, waits for its echo, and says how long that took.
//
// Run:   build/debug/examples/01_echo_server 7000 &
//        build/debug/examples/echo_client                    (port 7000, two greetings)
//        build/debug/examples/echo_client 7000 ping "two words"
// See:   connected to 127.0.0.1:7000
//        ping: echoed after 0.1 ms
//        two words: echoed after 0.1 ms
//        the server has closed too
//        An echo that is wrong, or does not come within 5 s, is one line on stderr and 1.
#include <coro/coro.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"

using namespace std::chrono_literals;
using coro::net::endpoint;
using coro::net::tcp_stream;

constexpr coro::duration patience = 5s;

/// Sends and reads side by side: a text that fits into no buffer would hold up both ends if the
/// echo were read only when all has been sent.
coro::task<std::string> echo_of(const std::string& text, tcp_stream& server) {
    std::string echo(text.size(), '\0');
    co_await coro::when_all(
        coro::net::write_all(server, coro::as_bytes(text)),
        coro::net::read_exact(server, std::as_writable_bytes(std::span(echo))));
    co_return echo;
}

coro::task<> talk(endpoint where, std::vector<std::string> texts) {
    tcp_stream server = co_await coro::with_timeout(patience, tcp_stream::connect(where));
    std::printf("connected to %s\n", server.remote_endpoint().to_string().c_str());

    for (const std::string& text : texts) {
        const coro::time_point sent = coro::now();
        const std::string echo = co_await coro::with_timeout(patience, echo_of(text, server));
        if (echo != text) throw std::runtime_error("read echo of " + text + ": it is " + echo);
        const std::chrono::duration<double, std::milli> took = coro::now() - sent;
        std::printf("%s: echoed after %.1f ms\n", text.c_str(), took.count());
    }

    // Half-close: the server reads the end of the stream, and what we read then is its own end.
    server.shutdown_send();
    std::array<std::byte, 1> buffer;
    if (co_await coro::with_timeout(patience, server.read_some(buffer)) != 0)
        throw std::runtime_error("read end of stream: the server says more than was sent");
    std::printf("the server has closed too\n");
}

int main(int argc, char** argv) {
    arguments given(argc, argv, "echo_client [PORT] [TEXT]...");
    const auto server = endpoint::loopback(given.port_to_connect("PORT", 7000));
    std::vector<std::string> texts = given.rest();
    if (texts.empty()) texts = {"hello", "hello again"};
    return coro::run_main(talk(server, std::move(texts)));
}
