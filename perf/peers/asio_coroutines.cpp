// Peer: an echo server in Boost.Asio, a C++20 coroutine per connection, one thread and no locks.
//
// Run:  asio_coroutines --port 7000     then connect anything to 127.0.0.1:7000
#include "common/arguments.hpp"
#include "common/server.hpp"

#include <array>
#include <cstddef>
#include <utility>

#include <boost/asio.hpp>  // that of Boost 1.74 needs <utility> before it

namespace {

namespace asio = boost::asio;

// The executor by its type: the default, any_io_executor, erases it, and costs a virtual call and
// a count for each operation.
using executor = asio::io_context::executor_type;
using socket = asio::basic_stream_socket<asio::ip::tcp, executor>;
using acceptor = asio::basic_socket_acceptor<asio::ip::tcp, executor>;
using task = asio::awaitable<void, executor>;
constexpr asio::use_awaitable_t<executor> use_task;

task echo(socket peer) {
    std::array<std::byte, 65536> buffer;
    for (;;) {
        boost::system::error_code error;
        const std::size_t count = co_await peer.async_read_some(
            asio::buffer(buffer), asio::redirect_error(use_task, error));
        if (error) co_return;
        co_await asio::async_write(peer, asio::buffer(buffer.data(), count),
                                   asio::redirect_error(use_task, error));
        if (error) co_return;
    }
}

task accept_all(acceptor from) {
    for (;;) {
        boost::system::error_code error;
        socket peer = co_await from.async_accept(asio::redirect_error(use_task, error));
        if (error) continue;
        asio::co_spawn(from.get_executor(), echo(std::move(peer)), asio::detached);
    }
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{perf::port_option};
    const perf::arguments given("asio_coroutines", options, argc, argv);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int listener = perf::listen_on_loopback(perf::read_port(given), 0);
    asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    asio::co_spawn(context.get_executor(),
                   accept_all(acceptor(context.get_executor(), asio::ip::tcp::v4(), listener)),
                   asio::detached);
    perf::announce(listener);
    context.run();
}
