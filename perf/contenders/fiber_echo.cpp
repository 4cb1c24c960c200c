// The echo server in coro, in fibers: one per connection, read buffers on lease.
#include "contenders/coro_server.hpp"

#include <utility>

namespace {

void echo(coro::net::tcp_stream peer) {
    while (const coro::net::read_lease lease = coro::await(peer.read_leased()))
        coro::await(coro::net::write_all(peer, lease.bytes()));
}

coro::task<> handle(coro::net::tcp_stream peer) {
    co_await coro::fiber(echo, std::move(peer));
}

}  // namespace

int main(int argc, char** argv) { return perf::run_coro_server("fiber_echo", handle, argc, argv); }
