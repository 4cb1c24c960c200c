// The echo server in coro: one task per connection, sequential inside, read buffers on lease.
#include "contenders/coro_server.hpp"

namespace {

coro::task<> echo(coro::net::tcp_stream peer) {
    while (const coro::net::read_lease lease = co_await peer.read_leased())
        co_await coro::net::write_all(peer, lease.bytes());
}

}  // namespace

int main(int argc, char** argv) { return perf::run_coro_server("coro_echo", echo, argc, argv); }
