// Peer: an echo server in Boost.Asio, with callbacks, one thread and no locks.
//
// Run:  asio_callbacks --port 7000      then connect anything to 127.0.0.1:7000
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

/// Owned by the one callback that is under way.
class session {
public:
    explicit session(socket peer) : peer_(std::move(peer)) {}

    void receive() {
        peer_.async_read_some(asio::buffer(buffer_),
                              [this](boost::system::error_code error, std::size_t count) {
                                  if (error)
                                      delete this;
                                  else
                                      send(count);
                              });
    }

private:
    void send(std::size_t count) {
        asio::async_write(peer_, asio::buffer(buffer_.data(), count),
                          [this](boost::system::error_code error, std::size_t) {
                              if (error)
                                  delete this;
                              else
                                  receive();
                          });
    }

    socket peer_;
    std::array<std::byte, 65536> buffer_;
};

void accept_next(acceptor& from) {
    from.async_accept([&from](boost::system::error_code error, socket peer) {
        if (!error) (new session(std::move(peer)))->receive();
        accept_next(from);
    });
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{perf::port_option};
    const perf::arguments given("asio_callbacks", options, argc, argv);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int listener = perf::listen_on_loopback(perf::read_port(given), 0);
    asio::io_context context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE);
    acceptor from(context.get_executor(), asio::ip::tcp::v4(), listener);
    accept_next(from);
    perf::announce(listener);
    context.run();
}
