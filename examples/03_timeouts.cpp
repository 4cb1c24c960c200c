// A client that waits for nothing without a limit: with_timeout, move_on_after, as_result.
//
// Run:   build/debug/examples/01_echo_server 7000 &
//        build/debug/examples/03_timeouts 7000
// See:   connected to 127.0.0.1:7000
//        reply: hello
//        nothing more within 200 ms
//        with_timeout of 100 ms at 03_timeouts.cpp:52: deadline exceeded
//        connect tcp 127.0.0.1:1: Connection refused
//        Without a server the first step fails: one line on stderr, and the exit code is 1.
#include <coro/coro.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <optional>
#include <span>
#include <string>

using namespace std::chrono_literals;
using coro::net::endpoint;
using coro::net::tcp_stream;

/// The bytes of one reply as text. Without a deadline of its own: whoever awaits it brings one.
coro::task<std::string> read_reply(tcp_stream& server, std::size_t size) {
    std::string reply(size, '\0');
    co_await coro::net::read_exact(server, std::as_writable_bytes(std::span(reply)));
    co_return reply;
}

coro::task<> talk(const char* port) {
    const endpoint where = endpoint::parse(std::string("127.0.0.1:") + port).value();

    // Throws io_error (errc::deadline_exceeded) when the time is up; so does a refused connection.
    tcp_stream server = co_await coro::with_timeout(2s, tcp_stream::connect(where));
    std::printf("connected to %s\n", server.remote_endpoint().to_string().c_str());

    co_await coro::with_timeout(1s, coro::net::write_all(server, coro::as_bytes("hello")));
    const std::string reply = co_await coro::with_timeout(2s, read_reply(server, 5));
    std::printf("reply: %s\n", reply.c_str());

    // An optional: empty when the time was up first. A cancelled read_some has taken no byte.
    std::array<std::byte, 64> buffer;
    const std::optional<std::size_t> more =
        co_await coro::move_on_after(200ms, server.read_some(buffer));
    if (!more) std::printf("nothing more within 200 ms\n");
    else std::printf("%zu bytes more\n", *more);

    // The same as a value instead of an exception. The outer limit is the longer one: the nearer
    // deadline counts, whatever the nesting.
    const auto late = co_await coro::as_result(coro::with_deadline(
        coro::now() + 10s, coro::with_timeout(100ms, server.read_some(buffer))));
    if (!late.has_value()) std::printf("%s\n", late.error().what());

    // Errors as values fit where a failure is an expected answer. Port 1 is hardly ever in use.
    const auto nobody = co_await coro::as_result(
        coro::with_timeout(2s, tcp_stream::connect(endpoint::loopback(1))));
    if (!nobody.has_value()) std::printf("%s\n", nobody.error().what());
}

int main(int argc, char** argv) {
    return coro::run_main(talk(argc > 1 ? argv[1] : "7000"));
}
