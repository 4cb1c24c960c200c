// What net::copy costs: each connection is copied into itself, as a proxy copies one into another.
// epoll_echo is the same as a loop of read and write.
#include "contenders/coro_server.hpp"

namespace {

coro::task<> relay(coro::net::tcp_stream peer) { co_await coro::net::copy(peer, peer); }

}  // namespace

int main(int argc, char** argv) { return perf::run_coro_server("coro_relay", relay, argc, argv); }
