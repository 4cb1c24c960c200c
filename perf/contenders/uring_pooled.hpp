// The --multishot form of the io_uring yardstick: one armed receive per connection that lasts, and
// buffers from a shared ring, so an idle connection owns no buffer.
//
// It reads on while a send is in flight and gathers what has queued up into the next send, which
// spares large messages the stop-and-go. The price is that a fast sender could take every buffer:
//  1. At `most_queued` buffers a connection's receive is cancelled, and armed again when its queue
//     is empty.
//  2. A receive that finds the ring empty (ENOBUFS) is armed again after the connection's own send,
//     or, when it has none, replaced by one one-shot receive into a private buffer. Nothing is
//     retried at once, so an empty ring is not a busy loop.
#pragma once

#include "contenders/buffer_ring.hpp"
#include "contenders/uring_ring.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace perf {

class uring_pooled_echo {
public:
    uring_pooled_echo(int listener, std::size_t buffer_bytes)
        : acceptor_(ring_, listener),
          buffer_bytes_(buffer_bytes),
          buffers_(ring_.raw(), buffer_bytes) {}

    [[noreturn]] void run() {
        for (;;) {
            ring_.turn([this](const io_uring_cqe& cqe) { complete(cqe); });
            buffers_.publish();
        }
    }

private:
    static constexpr std::uint16_t most_queued = 16;

    /// What a gathering send needs to keep still; exists only while more than one buffer is sent.
    struct gather {
        msghdr message{};
        std::array<iovec, most_queued> parts{};
    };

    struct connection {
        explicit connection(int descriptor) : fd(descriptor) {}

        int fd;
        bool receiving = false;       // a receive of either form is in flight
        bool cancelling = false;      // and has been told to stop
        bool ended = false;           // no more input: end of stream, error, or a failed send
        std::uint16_t in_flight = 0;  // buffers of the send in flight
        buffer_queue queue;
        std::size_t sending = 0;  // bytes of the send in flight; 0 when there is none
        std::unique_ptr<gather> gathered;
        std::unique_ptr<std::byte[]> own;  // the private buffer of rule 2
    };

    void complete(const io_uring_cqe& cqe) {
        switch (kind_of(cqe)) {
            case op_kind::receive:
                received(*owner_of<connection>(cqe), cqe);
                break;
            case op_kind::send:
                sent(*owner_of<connection>(cqe), cqe.res);
                break;
            case op_kind::accept:
                if (const int fd = acceptor_.accepted(cqe); fd >= 0) receive(*new connection(fd));
                break;
            case op_kind::pause:
                acceptor_.arm();
                break;
            case op_kind::ignored:
                break;
        }
    }

    void receive(connection& peer) {
        io_uring_sqe* sqe = ring_.entry();
        io_uring_prep_recv_multishot(sqe, peer.fd, nullptr, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = buffer_ring::group;
        sqe->user_data = tagged(&peer, op_kind::receive);
        peer.receiving = true;
    }

    void receive_privately(connection& peer) {
        peer.own.reset(new std::byte[buffer_bytes_]);
        io_uring_sqe* sqe = ring_.entry();
        io_uring_prep_recv(sqe, peer.fd, peer.own.get(), buffer_bytes_, 0);
        sqe->user_data = tagged(&peer, op_kind::receive);
        peer.receiving = true;
    }

    void received(connection& peer, const io_uring_cqe& cqe) {
        if ((cqe.flags & IORING_CQE_F_MORE) == 0) peer.receiving = peer.cancelling = false;
        if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
            const auto id = static_cast<std::uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
            if (cqe.res > 0 && !peer.ended) {
                buffers_.push(peer.queue, id, static_cast<std::size_t>(cqe.res));
            } else {
                buffers_.give_back(id);
            }
        }
        if (peer.own != nullptr) {
            received_privately(peer, cqe.res);
        } else if (cqe.res == 0 || (cqe.res < 0 && !may_go_on(cqe.res))) {
            peer.ended = true;
        } else if (cqe.res == -ENOBUFS && peer.sending == 0 && peer.queue.count == 0) {
            receive_privately(peer);
            return;
        }
        if (peer.queue.count >= most_queued) stop_receiving(peer);
        go_on(peer);
    }

    static bool may_go_on(int result) { return result == -ENOBUFS || result == -ECANCELED; }

    void received_privately(connection& peer, int result) {
        if (result <= 0) {
            peer.ended = true;
            peer.own.reset();
            return;
        }
        peer.sending = static_cast<std::size_t>(result);
        io_uring_sqe* sqe = ring_.entry();
        io_uring_prep_send(sqe, peer.fd, peer.own.get(), peer.sending, MSG_WAITALL | MSG_NOSIGNAL);
        sqe->user_data = tagged(&peer, op_kind::send);
    }

    void stop_receiving(connection& peer) {
        if (!peer.receiving || peer.cancelling) return;
        io_uring_sqe* sqe = ring_.entry();
        io_uring_prep_cancel64(sqe, tagged(&peer, op_kind::receive), 0);
        sqe->user_data = tagged(nullptr, op_kind::ignored);
        peer.cancelling = true;
    }

    /// Whatever the connection can do next: send, receive again, or end.
    void go_on(connection& peer) {
        if (peer.sending != 0) return;
        if (peer.queue.count > 0) {
            send_queued(peer);
        } else if (!peer.receiving) {
            if (peer.ended)
                end(peer);
            else
                receive(peer);
        }
    }

    void send_queued(connection& peer) {
        io_uring_sqe* sqe = ring_.entry();
        const auto first = buffers_.bytes(peer.queue.first);
        if (peer.queue.count == 1) {
            peer.in_flight = 1;
            peer.sending = first.size();
            io_uring_prep_send(sqe, peer.fd, first.data(), first.size(),
                               MSG_WAITALL | MSG_NOSIGNAL);
        } else {
            gather_queued(peer);
            io_uring_prep_sendmsg(sqe, peer.fd, &peer.gathered->message,
                                  MSG_WAITALL | MSG_NOSIGNAL);
        }
        sqe->user_data = tagged(&peer, op_kind::send);
    }

    void gather_queued(connection& peer) {
        peer.gathered = std::make_unique<gather>();
        auto& parts = peer.gathered->parts;
        std::uint16_t id = peer.queue.first;
        std::uint16_t count = 0;
        for (; count < peer.queue.count && count < most_queued; ++count) {
            const auto bytes = buffers_.bytes(id);
            parts[count] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
            peer.sending += bytes.size();
            id = buffers_.next(id);
        }
        peer.in_flight = count;
        peer.gathered->message.msg_iov = parts.data();
        peer.gathered->message.msg_iovlen = count;
    }

    /// A short send means failure here: MSG_WAITALL resumes all others inside the kernel.
    void sent(connection& peer, int result) {
        const bool whole = result >= 0 && static_cast<std::size_t>(result) == peer.sending;
        for (; peer.in_flight > 0; --peer.in_flight)
            buffers_.pop(peer.queue);
        peer.sending = 0;
        peer.gathered.reset();
        peer.own.reset();
        if (!whole) {
            while (peer.queue.count > 0)
                buffers_.pop(peer.queue);
            peer.ended = true;
            shutdown(peer.fd, SHUT_RDWR);  // ends the receive in flight, whose completion closes
        }
        go_on(peer);
    }

    void end(connection& peer) {
        queue_close(ring_, peer.fd);
        delete &peer;
    }

    uring_ring ring_;
    uring_acceptor acceptor_;
    std::size_t buffer_bytes_;
    buffer_ring buffers_;
};

}  // namespace perf
