// An echo server with a dump signal, for tests of coro-doctor: prints its port and serves until it
// is told to stop.
#include <array>
#include <csignal>
#include <cstdio>
#include <span>

#include <coro/coro.hpp>

namespace {

coro::task<> echo(coro::net::tcp_stream peer) {
    std::array<std::byte, 64> buffer;
    while (const std::size_t count = co_await peer.read_some(buffer))
        co_await coro::net::write_all(peer, std::span(buffer).first(count));
}

coro::task<> serve_echo() {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    std::printf("%d\n", static_cast<int>(listener.local_endpoint().port()));
    std::fflush(stdout);
    co_await coro::serve(listener, echo);
}

}  // namespace

int main() {
    return coro::run_main(serve_echo(), {.loops = 2, .dump_signal = SIGQUIT});
}
