// The cold half of the waist: options, addresses, activity, and descriptors that come and go.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "poller_test_support.hpp"

namespace coro::inline v0::detail::conformance {
namespace {

class poller_socket_test : public poller_fixture {
protected:
    int option(socket_handle socket, socket_option which) {
        int value = -12345;
        EXPECT_EQ(world().get_option(socket, which, value), 0) << static_cast<int>(which);
        return value;
    }

    socket_activity activity(socket_handle socket) {
        socket_activity seen;
        EXPECT_EQ(world().activity(socket, seen), 0);
        return seen;
    }

    std::string local(socket_handle socket) {
        socket_address seen;
        EXPECT_EQ(world().local_address(socket, seen), 0);
        return text_of(seen);
    }

    std::string remote(socket_handle socket) {
        socket_address seen;
        EXPECT_EQ(world().remote_address(socket, seen), 0);
        return text_of(seen);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_socket_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

// --- options

TEST_P(poller_socket_test, options_answer_what_was_set) {
    const socket_handle socket = open();
    const std::pair<socket_option, int> cases[] = {
        {socket_option::reuse_address, 1},      {socket_option::reuse_port, 1},
        {socket_option::no_delay, 1},           {socket_option::linger, 7},
        {socket_option::linger, 0},             {socket_option::linger, -1},
        {socket_option::keepalive, 1},          {socket_option::keepalive_idle, 30},
        {socket_option::keepalive_interval, 5}, {socket_option::keepalive_count, 3},
        {socket_option::user_timeout, 2500},    {socket_option::no_delay, 0},
        {socket_option::keepalive, 0},          {socket_option::user_timeout, 0},
    };
    for (const auto& [which, value] : cases) {
        EXPECT_EQ(world().set_option(socket, which, value), 0) << static_cast<int>(which);
        EXPECT_EQ(option(socket, which), value) << static_cast<int>(which);
    }
}

TEST_P(poller_socket_test, defaults_are_the_kernels) {
    const socket_handle socket = open();
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
    const socket_handle socket = open();
    for (const socket_option which : {socket_option::receive_buffer, socket_option::send_buffer}) {
        EXPECT_EQ(world().set_option(socket, which, 32768), 0);
        EXPECT_EQ(option(socket, which), 65536);
    }
}

TEST_P(poller_socket_test, wrong_option_values_are_refused) {
    const socket_handle socket = open();
    EXPECT_EQ(world().set_option(socket, socket_option::keepalive_idle, 0), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::keepalive_idle, 40000), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::keepalive_count, 200), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::user_timeout, -1), -EINVAL);
    EXPECT_EQ(world().set_option(socket, socket_option::v6_only, 1), -ENOPROTOOPT)
        << "IPv4 does not know it";
}

TEST_P(poller_socket_test, v6_only_on_ipv6) {
    const socket_handle socket = open(address_family::ipv6);
    EXPECT_EQ(world().set_option(socket, socket_option::v6_only, 1), 0);
    EXPECT_EQ(option(socket, socket_option::v6_only), 1);
}

TEST_P(poller_socket_test, accepted_sockets_inherit_the_listeners_options) {
    const socket_handle socket = open();
    EXPECT_EQ(world().set_option(socket, socket_option::no_delay, 1), 0);
    EXPECT_EQ(world().set_option(socket, socket_option::keepalive, 1), 0);
    const connected_pair pair =
        connect_pair(listen_on(socket, loopback(address_family::ipv4), 16));
    EXPECT_EQ(option(pair.server, socket_option::no_delay), 1);
    EXPECT_EQ(option(pair.server, socket_option::keepalive), 1);
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
    const socket_handle client = open();
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

// --- activity (rule 6)

TEST_P(poller_socket_test, activity_counts_bytes_and_stamps_the_turn) {
    const time_point accepted{1000s};
    const time_point moved{2000s};
    world().turn_time = accepted;
    const connected_pair pair = connect_pair();
    EXPECT_EQ(activity(pair.server).last, accepted);
    EXPECT_EQ(activity(pair.server).bytes_in, 0u);
    world().turn_time = moved;
    EXPECT_EQ(receive_after(pair, "12345"), "12345");
    EXPECT_EQ(activity(pair.client).bytes_out, 5u);
    EXPECT_EQ(activity(pair.client).bytes_in, 0u);
    EXPECT_EQ(activity(pair.client).last, moved);
    EXPECT_EQ(activity(pair.server).bytes_in, 5u);
    EXPECT_EQ(activity(pair.server).bytes_out, 0u);
    EXPECT_EQ(activity(pair.server).last, moved);
}

TEST_P(poller_socket_test, activity_is_not_moved_by_what_moves_no_byte) {
    world().turn_time = time_point{1000s};
    const connected_pair pair = connect_pair();
    world().turn_time = time_point{2000s};
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.data = &into;
    receiving.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().cancel(receiving);
    finish(receiving);
    world().close(pair.client);
    EXPECT_EQ(receive(pair.server), "<0>");
    EXPECT_EQ(activity(pair.server).last, time_point{1000s});
}

TEST_P(poller_socket_test, activity_counts_every_kind_of_transfer) {
    const connected_pair pair = connect_pair();
    std::string text = "vectored";
    io_slice slice{text.data(), text.size()};
    operation sending(opcode::send_vectored, pair.client);
    sending.data = &slice;
    sending.size = 1;
    ASSERT_EQ(run(sending), 8);
    operation leased(opcode::receive_leased, pair.server);
    leased.size = 8;
    ASSERT_EQ(run(leased), 8);
    world().return_lease(leased.lease_id, leased.lease_data, leased.lease_from_heap);
    EXPECT_EQ(activity(pair.client).bytes_out, 8u);
    EXPECT_EQ(activity(pair.server).bytes_in, 8u);
}

// --- the word of the layers above

TEST_P(poller_socket_test, user_word_belongs_to_the_slot) {
    const connected_pair pair = connect_pair();
    std::uint32_t* word = world().user_word(pair.server);
    ASSERT_NE(word, nullptr);
    EXPECT_EQ(*word, 0u);
    *word = 42;
    EXPECT_EQ(*world().user_word(pair.client), 0u) << "one word for each socket";
    EXPECT_EQ(receive_after(pair, "bytes"), "bytes");
    EXPECT_EQ(*world().user_word(pair.server), 42u);

    world().close(pair.server);
    EXPECT_EQ(world().user_word(pair.server), nullptr) << "stale";
    const connected_pair fresh = connect_pair();  // may live in the slot that was left
    EXPECT_EQ(*world().user_word(fresh.client), 0u);
    EXPECT_EQ(*world().user_word(fresh.server), 0u);
}

TEST_P(poller_socket_test, user_word_ends_with_close_although_an_operation_is_pending) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.data = &into;
    receiving.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().close(pair.server);
    EXPECT_EQ(world().user_word(pair.server), nullptr);
    finish(receiving);
}

// --- random

TEST_P(poller_socket_test, random_fills_all_that_is_asked) {
    std::array<std::uint8_t, 203> bytes{};
    world().random(bytes.data(), bytes.size());
    std::array<std::uint8_t, 203> more{};
    world().random(more.data(), more.size());
    EXPECT_NE(bytes, more);
    const auto tail = std::vector<std::uint8_t>(bytes.end() - 16, bytes.end());
    EXPECT_NE(tail, std::vector<std::uint8_t>(16, 0));
    world().random(nullptr, 0);
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
    socket_handle none;
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

TEST_P(poller_descriptor_test, release_of_a_socket_in_use_is_refused) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.data = &into;
    receiving.size = 1;
    ASSERT_FALSE(submit(receiving));
    int descriptor = -1;
    EXPECT_EQ(world().release(pair.server, descriptor), -EBUSY);
    send_all(pair.client, "y");
    finish(receiving);
    EXPECT_EQ(receiving.result, 1);
}

}  // namespace
}  // namespace coro::inline v0::detail::conformance
