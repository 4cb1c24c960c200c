// A TCP proxy: whoever connects to one port talks to another. It copies bytes, in both directions.
//
// Run:   build/debug/examples/01_echo_server 7000 &
//        build/debug/examples/proxy 7001 7000            (LISTEN_PORT TARGET_PORT; 0: any free one)
// Talk:  nc 127.0.0.1 7001
// See:   listening 127.0.0.1:7001
//        forwarding to 127.0.0.1:7000
//        and in nc what the target answers. An end of one direction is passed on, and the other
//        goes on: `nc -N` still gets its answer. Per connection the proxy holds at most 64 KiB in
//        each direction: who reads slowly slows down who sends. The 1001st client waits for a
//        place. A connection that fails is one line on stderr: `127.0.0.1:40000: connect tcp
//        127.0.0.1:7000: Connection refused`, and ends by a reset. Ctrl-C passes on that nothing
//        more comes from clients that are silent; answers have up to two seconds. It ends with 0.
#include <coro/coro.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <utility>

#include "arguments.hpp"

using namespace std::chrono_literals;
using coro::net::endpoint;
using coro::net::tcp_stream;

constexpr std::size_t most_connections = 1'000;
constexpr coro::duration patience = 5s;

/// A stop ends the copy to the target when the client is silent. The target then learns that no
/// request will follow, and its last answer still comes.
coro::task<> copy_to_target(tcp_stream& from, tcp_stream& to) {
    co_await coro::net::copy(from, to, {.ends_at_stop = true});
    to.shutdown_send();
}

coro::task<> copy_to_client(tcp_stream& from, tcp_stream& to) {
    co_await coro::net::copy(from, to);
    to.shutdown_send();  // the half-close goes on to the other side
}

/// One connection and its twin. When a direction fails, the group cancels the other one, and both
/// streams end by a reset: nobody takes a part for the whole.
coro::task<> forward(tcp_stream& client, endpoint target) {
    tcp_stream server = co_await coro::with_timeout(patience, tcp_stream::connect(target));
    const auto both = [&](coro::task_group& group) -> coro::task<> {
        group.spawn({.name = "to target"}, copy_to_target, std::ref(client), std::ref(server));
        group.spawn({.name = "to client"}, copy_to_client, std::ref(server), std::ref(client));
        co_return;
    };
    const auto end = co_await coro::as_result(coro::with_task_group(both));
    if (end.has_value()) co_return;
    server.abort();
    throw coro::io_error(end.error());
}

/// What serve() reports it reports with the address of the client; here the target may be meant.
coro::task<> handle(tcp_stream client, endpoint target) {
    const std::string who = client.remote_endpoint().to_string();
    const auto end = co_await coro::as_result(forward(client, target));
    if (end.has_value()) co_return;
    client.abort();
    std::fprintf(stderr, "%s: %s\n", who.c_str(), end.error().what());
}

coro::task<> serve_proxy(endpoint where, endpoint target) {
    auto listener = coro::net::tcp_listener::bind(where);
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());
    std::printf("forwarding to %s\n", target.to_string().c_str());
    std::fflush(stdout);

    const auto handler = [target](tcp_stream client) -> coro::task<> {
        co_await handle(std::move(client), target);
    };
    const coro::server_limits limits{
        .connections = most_connections, .first_byte = 5min, .idle = 5min, .drain = 2s};
    co_await coro::serve(listener, handler, {.limits = limits});
}

int main(int argc, char** argv) {
    arguments given(argc, argv, "proxy LISTEN_PORT TARGET_PORT");
    const auto where = endpoint::loopback(given.port_to_listen("LISTEN_PORT"));
    const auto target = endpoint::loopback(given.port_to_connect("TARGET_PORT"));
    given.end();
    return coro::run_main(serve_proxy(where, target), {.drain = 3s});
}
