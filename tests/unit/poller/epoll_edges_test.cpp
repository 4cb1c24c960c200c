// Edges of epoll that lie: short receives that leave something, edges older than their socket.
#include "unit/poller/epoll_poller_fixture.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "conformance/kernel_queues.hpp"

namespace coro::detail::epoll_tests {
namespace {

class epoll_edges : public epoll_special {};

// recv(2) stops at the urgent mark: shorter than asked, and yet more is there and no edge to come.
TEST_F(epoll_edges, urgent_data_does_not_hide_what_follows_it) {
    const pair_of_ends ends = tcp_pair();
    operation first(opcode::receive, ends.ours);
    first.buffer.data = buffer_.data();
    first.buffer.size = 64;
    ASSERT_FALSE(poller_->submit(first));
    ASSERT_EQ(::send(ends.theirs, "ab!", 3, MSG_OOB), 3);
    ASSERT_EQ(::send(ends.theirs, "cde", 3, 0), 3);
    complete(first);
    EXPECT_EQ(first.result, 2);
    EXPECT_EQ(receive(ends.ours), 3);
}

// unix(7): a receive does not go beyond a message with ancillary data.
TEST_F(epoll_edges, discarded_descriptors_do_not_hide_what_follows_them) {
    const pair_of_ends ends = local_pair();
    operation first(opcode::receive, ends.ours);
    first.buffer.data = buffer_.data();
    first.buffer.size = 64;
    ASSERT_FALSE(poller_->submit(first));

    char text[] = "ab";
    iovec slice{text, 2};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> space{};
    msghdr message{};
    message.msg_iov = &slice;
    message.msg_iovlen = 1;
    message.msg_control = space.data();
    message.msg_controllen = space.size();
    cmsghdr* control = CMSG_FIRSTHDR(&message);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(control), &ends.theirs, sizeof(int));
    ASSERT_EQ(::sendmsg(ends.theirs, &message, 0), 2);
    ASSERT_EQ(::send(ends.theirs, "cde", 3, 0), 3);
    complete(first);
    EXPECT_EQ(first.result, 2);
    EXPECT_EQ(receive(ends.ours), 3);
}

TEST_F(epoll_edges, the_end_of_the_stream_stays_known) {
    const pair_of_ends ends = tcp_pair();
    ASSERT_EQ(::send(ends.theirs, "ab", 2, 0), 2);
    ASSERT_EQ(::shutdown(ends.theirs, SHUT_WR), 0);
    EXPECT_EQ(receive(ends.ours), 2);
    EXPECT_EQ(receive(ends.ours), 0);
    const std::uint64_t waits = poller_->counters.waits;
    EXPECT_EQ(receive(ends.ours), 0);
    EXPECT_EQ(poller_->counters.waits, waits);
}

TEST_F(epoll_edges, an_end_of_stream_found_without_an_edge_stays_known) {
    const pair_of_ends ends = tcp_pair();
    ASSERT_EQ(::send(ends.theirs, "ab", 2, 0), 2);
    ASSERT_EQ(::shutdown(ends.theirs, SHUT_WR), 0);
    EXPECT_EQ(receive(ends.ours, 2), 2);
    EXPECT_EQ(receive(ends.ours), 0);
    EXPECT_EQ(receive(ends.ours), 0);
    EXPECT_EQ(poller_->counters.controls, 0u);
    EXPECT_EQ(poller_->counters.waits, 0u);
}

// Until EAGAIN a short receive proved nothing; from then on it does again.
TEST_F(epoll_edges, after_urgent_data_the_short_read_rule_comes_back) {
    const pair_of_ends ends = tcp_pair();
    operation first(opcode::receive, ends.ours);
    first.buffer.data = buffer_.data();
    first.buffer.size = 64;
    ASSERT_FALSE(poller_->submit(first));
    ASSERT_EQ(::send(ends.theirs, "ab!", 3, MSG_OOB), 3);
    complete(first);
    ASSERT_EQ(first.result, 2);
    for (int i = 0; i < 3; ++i) {
        operation next(opcode::receive, ends.ours);
        next.buffer.data = buffer_.data();
        next.buffer.size = 64;
        ASSERT_FALSE(poller_->submit(next));
        ASSERT_EQ(::send(ends.theirs, "cd", 2, 0), 2);
        complete(next);
    }
    // The first attempt, and the one that took the urgent mark back.
    EXPECT_EQ(poller_->counters.would_block, 2u);
}

/// A connect that stays under way: its SYN is dropped by a listener whose queue is full.
struct hanging_connect {
    hanging_connect() {
        listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in where{};
        where.sin_family = AF_INET;
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof where;
        auto* kernel_view = reinterpret_cast<sockaddr*>(&where);
        EXPECT_EQ(::bind(listener, kernel_view, size), 0);
        EXPECT_EQ(::listen(listener, 0), 0);
        EXPECT_EQ(::getsockname(listener, kernel_view, &size), 0);
        filler = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(::connect(filler, kernel_view, size), 0);
        while (conformance::queue_of(listener).tcpi_unacked < 1) std::this_thread::yield();
        std::memcpy(address.bytes.data(), &where, sizeof where);
        address.size = sizeof where;
    }
    hanging_connect(const hanging_connect&) = delete;
    hanging_connect& operator=(const hanging_connect&) = delete;
    ~hanging_connect() {
        ::close(filler);
        ::close(listener);
    }

    int listener = -1;
    int filler = -1;
    socket_address address;
};

// recv(2) on a socket whose connect has failed would answer, and use up, the error of the connect.
TEST_F(epoll_edges, a_receive_during_a_connect_leaves_it_its_error) {
    hanging_connect server;
    for (const bool receive_first : {true, false}) {
        detail::handle client;
        ASSERT_EQ(poller_->open_stream(address_family::ipv4, client), 0);
        operation connecting(opcode::connect, client);
        connecting.where = &server.address;
        operation reading(opcode::receive, client);
        reading.buffer.data = buffer_.data();
        reading.buffer.size = 64;
        ASSERT_FALSE(poller_->submit(connecting));
        if (receive_first) {
            EXPECT_FALSE(poller_->submit(reading));
        }
        // Fails the connect: inet_shutdown() in the kernel's net/ipv4/af_inet.c.
        ASSERT_EQ(poller_->shutdown(client, shutdown_how::both), 0);
        if (!receive_first) {
            EXPECT_FALSE(poller_->submit(reading));
        }
        complete(connecting);
        complete(reading);
        EXPECT_EQ(connecting.result, -ECONNRESET);
        EXPECT_LE(reading.result, 0);
        poller_->close(client);
    }
}

// Every second socket that has an edge to come is closed before that is collected. Then their slots
// and descriptor numbers go to new sockets.
TEST_F(epoll_edges, edges_of_closed_sockets_reach_nobody) {
    constexpr std::size_t count = 64;
    std::array<pair_of_ends, count> old;
    std::vector<std::unique_ptr<operation>> reading;
    std::array<std::array<char, 8>, count> buffers{};
    for (std::size_t i = 0; i < count; ++i) {
        old[i] = local_pair();
        reading.push_back(std::make_unique<operation>(opcode::receive, old[i].ours));
        reading[i]->buffer = {buffers[i].data(), 8};
        ASSERT_FALSE(poller_->submit(*reading[i]));
    }
    for (const pair_of_ends& ends : old) ASSERT_EQ(::send(ends.theirs, "old", 3, 0), 3);
    for (std::size_t i = 1; i < count; i += 2) poller_->close(old[i].ours);
    const poller_counters before = poller_->counters;
    operation_list completed;
    poller_->wait(time_point::min(), completed);
    for (std::size_t i = 0; i < count; ++i) {
        EXPECT_EQ(reading[i]->result, i % 2 == 0 ? 3 : result_closed) << i;
    }
    EXPECT_EQ(poller_->counters.receives - before.receives, count / 2);

    for (std::size_t i = 1; i < count; i += 2) {
        const pair_of_ends young = local_pair();
        EXPECT_EQ(young.ours.index % 2, 1u);
        ASSERT_EQ(::send(young.theirs, "young", 5, 0), 5);
        EXPECT_EQ(receive(young.ours), 5);
    }
}

// What a child process after fork(2) has: a registration that outlives the descriptor.
TEST_F(epoll_edges, edges_of_a_duplicate_are_dropped) {
    const pair_of_ends old = local_pair();
    EXPECT_EQ(::send(old.theirs, "x", 1, 0), 1);
    EXPECT_EQ(receive(old.ours), 1);
    operation op(opcode::receive, old.ours);
    op.buffer.data = buffer_.data();
    op.buffer.size = 8;
    ASSERT_FALSE(poller_->submit(op));
    poller_->cancel(op);
    complete(op);
    const int duplicate = ::fcntl(old.our_descriptor, F_DUPFD_CLOEXEC, 0);
    ASSERT_GE(duplicate, 0);
    poller_->close(old.ours);

    const pair_of_ends young = local_pair();
    ASSERT_EQ(young.ours.index, old.ours.index);
    operation next(opcode::receive, young.ours);
    next.buffer.data = buffer_.data();
    next.buffer.size = 8;
    ASSERT_FALSE(poller_->submit(next));
    operation_list completed;
    poller_->wait(time_point::min(), completed);  // the edge of the registration
    EXPECT_EQ(::send(old.theirs, "y", 1, 0), 1);
    const poller_counters before = poller_->counters;
    poller_->wait(time_point::min(), completed);
    EXPECT_EQ(next.phase, operation_phase::submitted);
    EXPECT_EQ(poller_->counters.receives, before.receives);
    EXPECT_EQ(::send(young.theirs, "zz", 2, 0), 2);
    complete(next);
    EXPECT_EQ(next.result, 2);
    ::close(duplicate);
}

}  // namespace
}  // namespace coro::detail::epoll_tests
