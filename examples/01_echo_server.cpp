// The echo server of the README, with the port as an argument.
//
// Run:   build/debug/examples/01_echo_server 7000        (0: the kernel chooses a port)
// Talk:  nc 127.0.0.1 7000
// See:   `listening 127.0.0.1:7000`; nc shows every line that you type a second time. A client that
//        vanishes is one line on stderr and disturbs nobody. Ctrl-C ends the program with 0.
#include <coro/coro.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <span>
#include <string>

using namespace std::chrono_literals;

/// One connection. Errors are left to serve(), which reports them with the peer's address.
coro::task<> echo(coro::net::tcp_stream peer) {
    std::array<std::byte, 4096> buffer;
    while (std::size_t n = co_await peer.read_some(buffer))
        co_await coro::net::write_all(peer, std::span(buffer).first(n));
}

coro::task<> serve_echo(const char* port) {
    // value() throws when the text is no port; run_main() prints why and answers 1.
    auto where = coro::net::endpoint::parse(std::string("127.0.0.1:") + port).value();
    auto listener = coro::net::tcp_listener::bind(where);
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());
    std::fflush(stdout);
    co_await coro::serve(listener, echo, {.limits = {.first_byte = 30s, .idle = 30s}});
}

int main(int argc, char** argv) {
    return coro::run_main(serve_echo(argc > 1 ? argv[1] : "7000"));
}
