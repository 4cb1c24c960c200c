// Yardstick: the fastest raw io_uring echo server that we know how to write, one thread.
//
// Run:  uring_echo --port 7000          then connect anything to 127.0.0.1:7000
// A connection is one operation in flight, never two: a one-shot receive into its own buffer, then
// a ring send of what came. The receive is queued only when the reply is out, because its first
// attempt then often finds the next message and no poll has to be armed. All connections share
// one io_uring_enter per turn.
//
// --multishot trades that for memory: see uring_pooled.hpp.
#include "contenders/uring_pooled.hpp"
#include "contenders/uring_ring.hpp"

#include "common/arguments.hpp"
#include "common/server.hpp"

#include <array>
#include <cstddef>
#include <memory>

namespace {

struct connection {
    connection(int descriptor, std::size_t bytes) : fd(descriptor), buffer(new std::byte[bytes]) {}

    int fd;
    std::size_t length = 0;  // bytes to send back
    std::size_t sent = 0;
    std::unique_ptr<std::byte[]> buffer;  // its untouched pages cost nothing
};

class uring_echo {
public:
    uring_echo(int listener, std::size_t buffer_bytes)
        : acceptor_(ring_, listener), buffer_bytes_(buffer_bytes) {}

    [[noreturn]] void run() {
        for (;;) {
            ring_.turn([this](const io_uring_cqe& cqe) { complete(cqe); });
        }
    }

private:
    void complete(const io_uring_cqe& cqe) {
        switch (perf::kind_of(cqe)) {
            case perf::op_kind::receive:
                received(perf::owner_of<connection>(cqe), cqe.res);
                break;
            case perf::op_kind::send:
                sent(perf::owner_of<connection>(cqe), cqe.res);
                break;
            case perf::op_kind::accept:
                if (const int fd = acceptor_.accepted(cqe); fd >= 0) {
                    receive(new connection(fd, buffer_bytes_));
                }
                break;
            case perf::op_kind::pause:
                acceptor_.arm();
                break;
            case perf::op_kind::ignored:
                break;
        }
    }

    void receive(connection* peer) {
        io_uring_sqe* sqe = ring_.entry();
        io_uring_prep_recv(sqe, peer->fd, peer->buffer.get(), buffer_bytes_, 0);
        sqe->user_data = perf::tagged(peer, perf::op_kind::receive);
    }

    void send(connection* peer) {
        io_uring_sqe* sqe = ring_.entry();
        io_uring_prep_send(sqe, peer->fd, peer->buffer.get() + peer->sent,
                           peer->length - peer->sent, MSG_WAITALL | MSG_NOSIGNAL);
        sqe->user_data = perf::tagged(peer, perf::op_kind::send);
    }

    void received(connection* peer, int result) {
        if (result <= 0) {
            drop(peer);
            return;
        }
        peer->length = static_cast<std::size_t>(result);
        peer->sent = 0;
        send(peer);
    }

    /// MSG_WAITALL makes a short send rare (a signal, memory pressure), not impossible.
    void sent(connection* peer, int result) {
        if (result <= 0) {
            drop(peer);
            return;
        }
        peer->sent += static_cast<std::size_t>(result);
        if (peer->sent < peer->length)
            send(peer);
        else
            receive(peer);
    }

    /// Safe at once: the operation that just completed was the only one in flight.
    void drop(connection* peer) {
        perf::queue_close(ring_, peer->fd);
        delete peer;
    }

    perf::uring_ring ring_;
    perf::uring_acceptor acceptor_;
    std::size_t buffer_bytes_;
};

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{
        perf::port_option, perf::loops_option, perf::buffer_option,
        perf::option{"multishot", "", "multishot receive into a shared ring of buffers"}};
    const perf::arguments given("uring_echo", options, argc, argv);
    const perf::server_settings settings = perf::read_server_settings(given);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int listener = perf::listen_on_loopback(settings.port, 0);
    if (given.has("multishot")) {
        perf::uring_pooled_echo server(listener, settings.buffer_bytes);
        perf::announce(listener);
        server.run();
    }
    uring_echo server(listener, settings.buffer_bytes);
    perf::announce(listener);
    server.run();
}
