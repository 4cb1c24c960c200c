// The cold half of the waist: options, addresses, activity, and descriptors that come and go.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_socket_test : public poller_fixture {
protected:
    int option(detail::handle socket, socket_option which) {
        int value = -12345;
        EXPECT_EQ(world().get_option(socket, which, value), 0) << static_cast<int>(which);
        return value;
    }

    std::uint64_t moved_bytes(detail::handle socket) {
        std::uint64_t seen = 0;
        EXPECT_EQ(world().moved_bytes(socket, seen), 0);
        return seen;
    }
    /// The kernel counts an acknowledgement when it has come, and tells nobody.
    void wait_until_moved(detail::handle socket, std::uint64_t bytes) {
        for (int looks = 0; looks < 60'000 && moved_bytes(socket) != bytes; ++looks)
            collect(world().now() + 1ms);
        EXPECT_EQ(moved_bytes(socket), bytes);
    }

    std::string local(detail::handle socket) {
        socket_address seen;
        EXPECT_EQ(world().local_address(socket, seen), 0);
        return text_of(seen);
    }

    std::string remote(detail::handle socket) {
        socket_address seen;
        EXPECT_EQ(world().remote_address(socket, seen), 0);
        return text_of(seen);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_socket_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

// --- options

TEST_P(poller_socket_test, options_answer_what_was_set) {
    const detail::handle socket = open();
    const std::pair<socket_option, int> cases[] = {
        {socket_option::reuse_address, 1},      {socket_option::reuse_port, 1},
        {socket_option::no_delay, 1},           {socket_option::linger, 7},
        {socket_option::linger, 0},             {socket_option::linger, -1},
        {socket_option::keepalive, 1},          {socket_option::keepalive_idle, 30},
        {socket_option::keepalive_interval, 5}, {socket_option::keepalive_count, 3},
        {socket_option::user_timeout, 2500},    {socket_option::no_delay, 0},
        {socket_option::keepalive, 0},          {socket_option::user_timeout, 0},
        {socket_option::quick_ack, 0},          {socket_option::quick_ack, 1},
        {socket_option::cork, 1},               {socket_option::cork, 0},
        {socket_option::fast_open, 5},          {socket_option::fast_open_connect, 1},
        {socket_option::traffic_class, 184},    {socket_option::priority, 4},
        {socket_option::maximum_segment, 600},  {socket_option::not_sent_low_water, 4096},
    };
    for (const auto& [which, value] : cases) {
        EXPECT_EQ(world().set_option(socket, which, value), 0) << static_cast<int>(which);
        EXPECT_EQ(option(socket, which), value) << static_cast<int>(which);
    }
}

TEST_P(poller_socket_test, defaults_are_the_kernels) {
    const detail::handle socket = open();
    EXPECT_EQ(option(socket, socket_option::reuse_address), 0);
    EXPECT_EQ(option(socket, socket_option::no_delay), 0);
    EXPECT_EQ(option(socket, socket_option::linger), -1);
    EXPECT_EQ(option(socket, socket_option::keepalive), 0);
    EXPECT_EQ(option(socket, socket_option::user_timeout), 0);
    EXPECT_GT(option(socket, socket_option::keepalive_idle), 0);
    EXPECT_GT(option(socket, socket_option::receive_buffer), 0);
    EXPECT_GT(option(socket, socket_option::send_buffer), 0);
}

TEST_P(poller_socket_test, buffer_sizes_are_answered_doubled) {
    const detail::handle socket = open();
    for (const socket_option which : {socket_option::receive_buffer, socket_option::send_buffer}) {
        EXPECT_EQ(world().set_option(socket, which, 32768), 0);
        EXPECT_EQ(option(socket, which), 65536);
    }
}

TEST_P(poller_socket_test, wrong_option_values_are_refused) {
    const detail::handle socket = open();
    EXPECT_EQ(world().set_option(socket, socket_option::keepalive_idle, 0), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::keepalive_idle, 40000), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::keepalive_count, 200), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::user_timeout, -1), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::maximum_segment, 87), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::maximum_segment, 32768), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::fast_open_connect, 2), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::v6_only, 1), -ENOPROTOOPT)
        << "IPv4 does not know it";
}

TEST_P(poller_socket_test, v6_only_on_ipv6) {
    const detail::handle socket = open(address_family::ipv6);
    EXPECT_EQ(world().set_option(socket, socket_option::v6_only, 1), 0);
    EXPECT_EQ(option(socket, socket_option::v6_only), 1);
}

TEST_P(poller_socket_test, accepted_sockets_inherit_the_listeners_options) {
    const detail::handle socket = open();
    EXPECT_EQ(world().set_option(socket, socket_option::no_delay, 1), 0);
    EXPECT_EQ(world().set_option(socket, socket_option::keepalive, 1), 0);
    EXPECT_EQ(world().set_option(socket, socket_option::cork, 1), 0);
    EXPECT_EQ(world().set_option(socket, socket_option::traffic_class, 40), 0);
    EXPECT_EQ(world().set_option(socket, socket_option::priority, 4), 0);
    EXPECT_EQ(world().set_option(socket, socket_option::quick_ack, 0), 0);
    EXPECT_EQ(world().set_congestion(socket, congestion_name{"reno"}), 0);
    const connected_pair pair =
        connect_pair(listen_on(socket, loopback(address_family::ipv4), 16));
    EXPECT_EQ(option(pair.server, socket_option::no_delay), 1);
    EXPECT_EQ(option(pair.server, socket_option::keepalive), 1);
    EXPECT_EQ(option(pair.server, socket_option::cork), 1);
    EXPECT_EQ(option(pair.server, socket_option::traffic_class), 40);
    EXPECT_EQ(option(pair.server, socket_option::priority), 0) << "not inherited";
    EXPECT_EQ(option(pair.server, socket_option::quick_ack), 1) << "not inherited";
    congestion_name congestion{};
    EXPECT_EQ(world().get_congestion(pair.server, congestion), 0);
    EXPECT_STREQ(congestion.data(), "reno");
    EXPECT_EQ(option(pair.client, socket_option::no_delay), 0);
}

// --- addresses

TEST_P(poller_socket_test, addresses_of_the_two_ends_mirror_each_other) {
    for (const address_family family : {address_family::ipv4, address_family::ipv6}) {
        const listener_socket listener = listen(16, family);
        EXPECT_NE(port_of(listener.address), 0) << "bind to port 0 chooses one";
        const connected_pair pair = connect_pair(listener, family);
        EXPECT_EQ(local(pair.client), remote(pair.server));
        EXPECT_EQ(remote(pair.client), local(pair.server));
        EXPECT_EQ(remote(pair.client), text_of(listener.address));
        const std::string host = family == address_family::ipv6 ? "[::1]:" : "127.0.0.1:";
        EXPECT_EQ(local(pair.client).rfind(host, 0), 0u) << local(pair.client);
        EXPECT_EQ(receive_after(pair, "carried"), "carried");
    }
}

TEST_P(poller_socket_test, local_address_before_bind_is_the_wildcard) {
    EXPECT_EQ(local(open()), "0.0.0.0:0");
    EXPECT_EQ(local(open(address_family::ipv6)), "[::]:0");
}

TEST_P(poller_socket_test, remote_address_without_a_peer_is_refused) {
    socket_address seen;
    EXPECT_EQ(world().remote_address(open(), seen), -ENOTCONN);
    EXPECT_EQ(world().remote_address(listen().handle, seen), -ENOTCONN);
}

TEST_P(poller_socket_test, remote_address_outlives_the_peer) {
    const connected_pair pair = connect_pair();
    const std::string peer = remote(pair.server);
    EXPECT_EQ(world().set_option(pair.client, socket_option::linger, 0), 0);
    world().close(pair.client);
    EXPECT_EQ(receive(pair.server), answer(-ECONNRESET));
    EXPECT_EQ(remote(pair.server), peer);
}

TEST_P(poller_socket_test, client_keeps_the_address_it_was_bound_to) {
    const listener_socket listener = listen();
    const detail::handle client = open();
    EXPECT_EQ(world().bind(client, loopback(address_family::ipv4)), 0);
    const std::string bound = local(client);
    ASSERT_EQ(connect(client, listener.address), 0);
    EXPECT_EQ(local(client), bound);
    EXPECT_EQ(remote(accept(listener)), bound);
}

TEST_P(poller_socket_test, wrong_family_is_refused) {
    const listener_socket listener = listen(16, address_family::ipv6);
    EXPECT_EQ(connect(open(), listener.address), -EAFNOSUPPORT);
    EXPECT_EQ(world().bind(open(), loopback(address_family::ipv6)), -EAFNOSUPPORT);
}

// --- moved bytes

TEST_P(poller_socket_test, bytes_are_counted_where_they_arrive_and_where_they_are_acknowledged) {
    const connected_pair pair = connect_pair();
    const std::uint64_t client = moved_bytes(pair.client);
    const std::uint64_t server = moved_bytes(pair.server);
    EXPECT_EQ(receive_after(pair, "12345"), "12345");
    wait_until_moved(pair.server, server + 5);
    wait_until_moved(pair.client, client + 5);
}

TEST_P(poller_socket_test, bytes_that_nobody_reads_are_counted) {
    const connected_pair pair = connect_pair();
    const std::uint64_t client = moved_bytes(pair.client);
    const std::uint64_t server = moved_bytes(pair.server);
    EXPECT_EQ(send(pair.client, "unread"), 6);
    wait_until_moved(pair.server, server + 6);
    wait_until_moved(pair.client, client + 6);
}

TEST_P(poller_socket_test, what_moves_no_byte_is_not_counted) {
    const connected_pair pair = connect_pair();
    const std::uint64_t before = moved_bytes(pair.server);
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().cancel(receiving);
    finish(receiving);
    EXPECT_EQ(moved_bytes(pair.server), before);
}

/// What lies in the send buffer of a peer that reads nothing has not moved: that the kernel took it
/// from us says nothing about the peer.
TEST_P(poller_socket_test, bytes_are_counted_only_as_the_peer_takes_them) {
    const connected_pair pair = connect_pair();
    const std::uint64_t before = moved_bytes(pair.server);
    const std::string much(1 << 16, 'm');
    std::uint64_t sent = 0;
    for (bool full = false; !full;) {
        operation sending(opcode::send, pair.server);
        sending.buffer.data = const_cast<char*>(much.data());
        sending.buffer.size = much.size();
        if (!submit(sending)) {
            settle();
            full = sending.phase == operation_phase::submitted;
            if (full) world().cancel(sending);
            finish(sending);
        }
        if (sending.result > 0) sent += static_cast<std::uint64_t>(sending.result);
    }
    EXPECT_LT(moved_bytes(pair.server) - before, sent);
    receive_exactly(pair.client, sent);
    wait_until_moved(pair.server, before + sent);
}

// --- the notes of the layers above

TEST_P(poller_socket_test, notes_belong_to_the_slot) {
    const connected_pair pair = connect_pair();
    socket_notes* notes = world().notes(pair.server);
    ASSERT_NE(notes, nullptr);
    EXPECT_EQ(notes->broken, 0u);
    EXPECT_EQ(notes->idle, duration::max());
    *notes = {.broken = 42, .idle = 1s};
    EXPECT_EQ(world().notes(pair.client)->broken, 0u) << "each socket has its own";
    EXPECT_EQ(receive_after(pair, "bytes"), "bytes");
    EXPECT_EQ(world().notes(pair.server)->broken, 42u);
    EXPECT_EQ(world().notes(pair.server)->idle, 1s);

    world().close(pair.server);
    EXPECT_EQ(world().notes(pair.server), nullptr) << "stale";
    const connected_pair fresh = connect_pair();  // may live in the slot that was left
    for (const detail::handle each : {fresh.client, fresh.server}) {
        EXPECT_EQ(world().notes(each)->broken, 0u);
        EXPECT_EQ(world().notes(each)->idle, duration::max());
    }
}

TEST_P(poller_socket_test, notes_end_with_close_although_an_operation_is_pending) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().close(pair.server);
    EXPECT_EQ(world().notes(pair.server), nullptr);
    finish(receiving);
}

// --- random

TEST_P(poller_socket_test, random_fills_all_that_is_asked) {
    constexpr std::size_t draws = 10;  // that a byte is the same in all: once in 256^9
    for (const std::size_t size : {1u, 7u, 8u, 9u, 203u}) {
        std::array<std::vector<std::uint8_t>, draws> drawn;
        for (auto& bytes : drawn) {
            bytes.assign(size + 1, 0x5a);
            shared_world().random(bytes.data(), size);
            EXPECT_EQ(bytes.back(), 0x5a) << "behind the end of " << size;
        }
        for (std::size_t at = 0; at < size; ++at) {
            const bool same = std::all_of(drawn.begin(), drawn.end(), [&](const auto& bytes) {
                return bytes[at] == drawn[0][at];
            });
            EXPECT_FALSE(same) << "byte " << at << " of " << size << " was not filled";
        }
    }
    shared_world().random(nullptr, 0);
}

// --- descriptors

class poller_descriptor_test : public poller_socket_test {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(poller_descriptor_test);  // CORO_POLLER=simulation
INSTANTIATE_TEST_SUITE_P(real_worlds, poller_descriptor_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(poller_descriptor_test, adopted_descriptor_works_and_is_owned) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    connected_pair pair;
    ASSERT_EQ(world().adopt(ends[0], pair.client), 0);
    ASSERT_EQ(world().adopt(ends[1], pair.server), 0);
    keep(pair.client);
    keep(pair.server);
    EXPECT_EQ(world().census().sockets, 2u);
    EXPECT_EQ(receive_after(pair, "adopted"), "adopted");
}

TEST_P(poller_descriptor_test, adopt_refuses_what_is_no_socket) {
    detail::handle none;
    EXPECT_EQ(world().adopt(-1, none), -EBADF);
    const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(world().adopt(file, none), -ENOTSOCK);
    EXPECT_EQ(::close(file), 0) << "a refused descriptor stays the caller's";
}

TEST_P(poller_descriptor_test, released_descriptor_belongs_to_the_caller) {
    const connected_pair pair = connect_pair();
    EXPECT_EQ(receive_after(pair, "before"), "before");
    int descriptor = -1;
    ASSERT_EQ(world().release(pair.server, descriptor), 0);
    ASSERT_GE(descriptor, 0);
    EXPECT_EQ(send(pair.server, "x"), result_closed) << "the handle is stale";
    ASSERT_EQ(::send(descriptor, "raw", 3, MSG_NOSIGNAL), 3);
    EXPECT_EQ(receive_exactly(pair.client, 3), "raw");
    ASSERT_EQ(::close(descriptor), 0);
    EXPECT_EQ(receive(pair.client), "<0>");
}

TEST_P(poller_descriptor_test, released_descriptor_may_be_adopted_again) {
    connected_pair pair = connect_pair();
    for (int i = 0; i < 5; ++i) {
        int descriptor = -1;
        ASSERT_EQ(world().release(pair.server, descriptor), 0);
        ASSERT_EQ(world().adopt(descriptor, pair.server), 0);
        keep(pair.server);
        EXPECT_EQ(receive_after(pair, "again"), "again");
    }
}

/// close(2) waits for the linger time, on a non-blocking socket too: the time is taken back before.
/// Who holds a duplicate sees what the socket was closed with.
TEST_P(poller_descriptor_test, close_takes_a_linger_time_back_and_keeps_a_reset) {
    for (const int seconds : {0, 3}) {
        connected_pair pair = connect_pair();
        int descriptor = -1;
        ASSERT_EQ(world().release(pair.server, descriptor), 0);
        const int duplicate = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
        ASSERT_GE(duplicate, 0);
        ASSERT_EQ(world().adopt(descriptor, pair.server), 0);
        ASSERT_EQ(world().set_option(pair.server, socket_option::linger, seconds), 0);
        world().close(pair.server);
        linger left{-1, -1};
        socklen_t size = sizeof left;
        ASSERT_EQ(::getsockopt(duplicate, SOL_SOCKET, SO_LINGER, &left, &size), 0);
        EXPECT_EQ(left.l_onoff != 0, seconds == 0) << seconds << " s";
        ASSERT_EQ(::close(duplicate), 0);
    }
}

/// A poller that adopts it knows nothing of whoever gave it the time.
TEST_P(poller_descriptor_test, close_takes_the_linger_time_of_an_adopted_descriptor_back) {
    connected_pair pair = connect_pair();
    int descriptor = -1;
    ASSERT_EQ(world().release(pair.server, descriptor), 0);
    const int duplicate = ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    linger time{1, 3};
    socklen_t size = sizeof time;
    ASSERT_EQ(::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &time, size), 0);
    ASSERT_EQ(world().adopt(descriptor, pair.server), 0);
    world().close(pair.server);
    ASSERT_EQ(::getsockopt(duplicate, SOL_SOCKET, SO_LINGER, &time, &size), 0);
    EXPECT_EQ(time.l_onoff, 0);
    ASSERT_EQ(::close(duplicate), 0);
}

TEST_P(poller_descriptor_test, release_of_a_socket_in_use_is_refused) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    int descriptor = -1;
    EXPECT_EQ(world().release(pair.server, descriptor), -EBUSY);
    send_all(pair.client, "y");
    finish(receiving);
    EXPECT_EQ(receiving.result, 1);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
