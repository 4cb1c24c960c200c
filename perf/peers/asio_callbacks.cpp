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
using asio::ip::tcp;

/// Owned by the one callback that is under way.
class session {
public:
    explicit session(tcp::socket peer) : peer_(std::move(peer)) {}

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

    tcp::socket peer_;
    std::array<std::byte, 16384> buffer_;
};

void accept_next(tcp::acceptor& acceptor) {
    acceptor.async_accept([&acceptor](boost::system::error_code error, tcp::socket peer) {
        if (!error) (new session(std::move(peer)))->receive();
        accept_next(acceptor);
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
    tcp::acceptor acceptor(context, tcp::v4(), listener);
    accept_next(acceptor);
    perf::announce(listener);
    context.run();
}
