// Datagrams through adopted descriptors: a pair of unix(7) sockets, whose sender waits for its
// receiver, as one of UDP does only at a slow network.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <deque>

#include "datagram_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_datagram_pair_test : public poller_datagram_test {
protected:
    void SetUp() override {
        poller_datagram_test::SetUp();
        std::array<int, 2> ends{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        ASSERT_EQ(world().adopt(ends[0], from_), 0);
        ASSERT_EQ(world().adopt(ends[1], to_), 0);
        keep(from_);
        keep(to_);
        ASSERT_EQ(world().set_option(from_, socket_option::send_buffer, 8192), 0);
    }
    /// Sends until one stays pending; that one.
    sending& fill(std::deque<sending>& all) {
        for (;;) {
            sending& last =
                all.emplace_back(from_, std::to_string(all.size()) + std::string(1000, '.'));
            if (!submit(last.op)) settle(20ms);
            if (last.op.phase == operation_phase::submitted) return last;
            EXPECT_EQ(last.op.result, static_cast<std::int32_t>(last.bytes.size()));
        }
    }

    detail::handle from_;
    detail::handle to_;
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(poller_datagram_pair_test);
INSTANTIATE_TEST_SUITE_P(real_worlds, poller_datagram_pair_test,
                         ::testing::ValuesIn(real_worlds()), parameter_name);

TEST_P(poller_datagram_pair_test, a_send_that_waits_goes_on_when_there_is_room) {
    std::deque<sending> all;
    const sending& waits = fill(all);
    for (std::size_t i = 0; i + 1 < all.size(); ++i) {
        ASSERT_EQ(receive_from(to_), all[i].bytes + "|");
    }
    until("the last one is sent", [&] { return waits.op.phase == operation_phase::completed; });
    EXPECT_EQ(waits.op.result, static_cast<std::int32_t>(waits.bytes.size()));
    EXPECT_EQ(receive_from(to_), waits.bytes + "|");
}

TEST_P(poller_datagram_pair_test, a_send_that_waits_can_be_cancelled_and_sends_nothing) {
    std::deque<sending> all;
    sending& waits = fill(all);
    EXPECT_EQ(send_to(from_, "second"), result_busy);
    world().cancel(waits.op);
    finish(waits.op);
    EXPECT_EQ(waits.op.result, -ECANCELED);
    for (std::size_t i = 0; i + 1 < all.size(); ++i) {
        ASSERT_EQ(receive_from(to_), all[i].bytes + "|");
    }
    expect_nothing(to_);
}

TEST_P(poller_datagram_pair_test, close_ends_a_send_that_waits) {
    std::deque<sending> all;
    sending& waits = fill(all);
    world().close(from_);
    finish(waits.op);
    EXPECT_EQ(waits.op.result, result_closed);
}

TEST_P(poller_datagram_pair_test, a_sender_without_a_name_has_an_empty_address) {
    EXPECT_EQ(send_to(from_, ""), 0);
    receiving got(to_);
    run(got.op);
    EXPECT_EQ(got.outcome(), "|");
    EXPECT_LE(got.message.peer.size, 2u) << "a family at most";
}

/// No poll tells of room at a peer that a message names: the send ends, and does not ask again.
TEST_P(poller_datagram_pair_test, a_full_queue_of_a_named_peer_is_an_error) {
    const int server = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un unnamed{};
    unnamed.sun_family = AF_UNIX;  // and no path: the kernel chooses an abstract name
    ASSERT_EQ(::bind(server, reinterpret_cast<const sockaddr*>(&unnamed), sizeof(sa_family_t)), 0);
    detail::handle to;
    ASSERT_EQ(world().adopt(server, to), 0);
    keep(to);
    socket_address where;
    ASSERT_EQ(world().local_address(to, where), 0);
    detail::handle from;
    ASSERT_EQ(world().adopt(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), from), 0);
    keep(from);
    int sent = 0;
    std::int32_t result = 4;
    while (result == 4) {
        result = send_to(from, "much", where);
        if (result == 4) ++sent;
    }
    EXPECT_EQ(result, -ENOBUFS);
    EXPECT_GT(sent, 0);
    EXPECT_EQ(receive_from(to), "much|");
    EXPECT_EQ(send_to(from, "room again", where), 10);
}

/// A first send chooses the port. The kernel says EAGAIN when there is none, and then no edge.
TEST_P(poller_datagram_pair_test, a_send_that_finds_no_free_port_is_an_error) {
    const endpoint server = bound();
    const endpoint holds_port = bound();
    std::uint16_t port = 0;
    std::memcpy(&port, holds_port.address.bytes.data() + 2, sizeof port);
    const std::uint32_t only = ntohs(port);
    const std::uint32_t range = only << 16 | only;
    const int descriptor = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    constexpr int ip_local_port_range = 51;  // since Linux 6.3
    const bool narrowed = ::setsockopt(descriptor, IPPROTO_IP, ip_local_port_range, &range,
                                       sizeof range) == 0;
    detail::handle client;
    ASSERT_EQ(world().adopt(descriptor, client), 0);
    keep(client);
    const std::int32_t expected = narrowed ? -EADDRNOTAVAIL : 1;
    EXPECT_EQ(send_to(client, "x", server.address), expected);
    EXPECT_EQ(send_to(client, "x", server.address), expected) << "each time";
    if (narrowed) {
        const std::uint32_t all = 0;
        ASSERT_EQ(::setsockopt(descriptor, IPPROTO_IP, ip_local_port_range, &all, sizeof all), 0);
    }
    EXPECT_EQ(send_to(client, "x", server.address), 1);
}

TEST_P(poller_datagram_pair_test, a_socket_that_is_released_and_adopted_is_as_before) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    ASSERT_EQ(connect(client, server.address), 0);
    int descriptor = -1;
    ASSERT_EQ(world().release(client, descriptor), 0);
    detail::handle again;
    ASSERT_EQ(world().adopt(descriptor, again), 0);
    keep(again);
    expect_connected(again, server);
    EXPECT_EQ(world().shutdown(again, shutdown_how::both), -EOPNOTSUPP) << "it is of datagrams";
}

TEST_P(poller_datagram_pair_test, a_socket_of_another_type_is_not_adopted) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    for (const int end : ends) {
        detail::handle none;
        EXPECT_EQ(world().adopt(end, none), -EPROTOTYPE);
        EXPECT_EQ(::close(end), 0) << "it is the caller's";
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
