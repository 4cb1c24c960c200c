// Datagrams at the waist: messages are kept whole, apart and in order, with the sender's address.
// See src/runtime/poller.hpp, rule 11.
#include <array>

#include "datagram_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

constexpr std::size_t longest_over_v4 = 65507;

INSTANTIATE_TEST_SUITE_P(all_worlds, poller_datagram_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

// --- messages

TEST_P(poller_datagram_test, a_message_brings_the_address_of_its_sender) {
    for (const address_family family : {address_family::ipv4, address_family::ipv6}) {
        const endpoint server = bound(family);
        const endpoint client = bound(family);
        EXPECT_EQ(send_to(client.handle, "question", server.address), 8);
        receiving question(server.handle);
        run(question.op);
        EXPECT_EQ(question.outcome(), "question|");
        EXPECT_EQ(text_of(question.message.peer), text_of(client.address));
        EXPECT_EQ(question.message.peer.size, client.address.size);
        EXPECT_EQ(send_to(server.handle, "reply", question.message.peer), 5);
        receiving reply(client.handle);
        run(reply.op);
        EXPECT_EQ(reply.outcome(), "reply|");
        EXPECT_EQ(text_of(reply.message.peer), text_of(server.address));
    }
}

TEST_P(poller_datagram_test, a_sender_without_an_address_gets_one) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    EXPECT_EQ(send_to(client, "from where?", server.address), 11);
    receiving got(server.handle);
    run(got.op);
    socket_address own;
    ASSERT_EQ(world().local_address(client, own), 0);
    EXPECT_NE(port_of(own), 0);
    EXPECT_EQ(text_of(got.message.peer), "127.0.0.1:" + std::to_string(port_of(own)));
}

/// A short receive says nothing about the queue: after the one edge all must be read.
TEST_P(poller_datagram_test, messages_stay_apart_and_in_order_behind_one_edge) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    receiving first(server.handle);
    ASSERT_FALSE(submit(first.op));
    settle();
    ASSERT_EQ(first.op.phase, operation_phase::submitted);
    const std::vector<std::string> texts{"a", "bb", "", "dddd", std::string(1500, 'e'), "", "g"};
    for (const std::string& text : texts) {
        ASSERT_EQ(send_to(client, text, server.address), static_cast<std::int32_t>(text.size()));
    }
    finish(first.op);
    EXPECT_EQ(first.outcome(), "a|");
    for (std::size_t i = 1; i < texts.size(); ++i) {
        EXPECT_EQ(receive_from(server.handle), texts[i] + "|") << "message " << i;
    }
    expect_nothing(server.handle);
}

TEST_P(poller_datagram_test, one_that_waits_gets_each_message) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    for (int i = 0; i < 50; ++i) {
        receiving got(server.handle);
        ASSERT_FALSE(submit(got.op));
        const std::string text = i % 5 == 0 ? "" : std::to_string(i);
        ASSERT_EQ(send_to(client, text, server.address), static_cast<std::int32_t>(text.size()));
        finish(got.op);
        EXPECT_EQ(got.outcome(), text + "|");
    }
}

TEST_P(poller_datagram_test, an_empty_message_is_no_end) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    EXPECT_EQ(send_to(client, "", server.address), 0);
    receiving empty(server.handle);
    run(empty.op);
    EXPECT_EQ(empty.outcome(), "|");
    EXPECT_GT(empty.message.peer.size, 0u) << "it has a sender";
    EXPECT_EQ(send_to(client, "more", server.address), 4);
    EXPECT_EQ(receive_from(server.handle), "more|");
}

TEST_P(poller_datagram_test, what_does_not_fit_is_cut_and_says_so) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    for (const char* text : {"0123456789", "0123", "next"}) {
        ASSERT_GT(send_to(client, text, server.address), 0);
    }
    EXPECT_EQ(receive_from(server.handle, 4), "0123|cut");
    EXPECT_EQ(receive_from(server.handle, 4), "0123|") << "it fits exactly";
    EXPECT_EQ(receive_from(server.handle, 100), "next|") << "the rest of the first is no message";
    expect_nothing(server.handle);
}

TEST_P(poller_datagram_test, a_receive_into_no_buffer_asks_all_the_same) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    receiving none(server.handle, 0);
    ASSERT_FALSE(submit(none.op));
    settle();
    ASSERT_EQ(none.op.phase, operation_phase::submitted) << "no message has come";
    EXPECT_EQ(send_to(client, "lost", server.address), 4);
    finish(none.op);
    EXPECT_EQ(none.outcome(), "|cut");
    EXPECT_EQ(send_to(client, "", server.address), 0);
    EXPECT_EQ(receive_from(server.handle, 0), "|");
    expect_nothing(server.handle);
}

TEST_P(poller_datagram_test, the_longest_message_is_never_cut_into_two) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    std::string longest(longest_over_v4, '\0');
    for (std::size_t i = 0; i < longest.size(); ++i) longest[i] = static_cast<char>(pattern(i));
    EXPECT_EQ(send_to(client, longest, server.address),
              static_cast<std::int32_t>(longest_over_v4));
    EXPECT_EQ(receive_from(server.handle, 70'000), longest + "|");
}

TEST_P(poller_datagram_test, one_that_is_too_long_is_an_error_and_nothing_of_it_is_sent) {
    for (const address_family family : {address_family::ipv4, address_family::ipv6}) {
        const endpoint server = bound(family);
        const detail::handle client = open_datagram(family);
        const std::size_t least = family == address_family::ipv4 ? longest_over_v4 + 1 : 65528;
        for (const std::size_t size : {least, std::size_t{65536}, most_bytes_at_once + 1}) {
            EXPECT_EQ(send_to(client, std::string(size, 'x'), server.address), -EMSGSIZE) << size;
        }
        expect_nothing(server.handle);
        EXPECT_EQ(send_to(client, "well", server.address), 4);
        EXPECT_EQ(receive_from(server.handle), "well|");
    }
}

/// A kernel keeps the oldest ones, as the simulation does.
TEST_P(poller_datagram_test, a_full_queue_loses_the_newest_and_mixes_nothing_up) {
    const endpoint server = bound();
    ASSERT_EQ(world().set_option(server.handle, socket_option::receive_buffer, 8192), 0);
    const detail::handle client = open_datagram();
    constexpr int sent = 200;
    for (int i = 0; i < sent; ++i) {
        const std::string text = std::to_string(1000 + i) + std::string(496, '.');
        ASSERT_EQ(send_to(client, text, server.address), 500) << "a sender does not learn of it";
    }
    settle();
    int came = 0;
    for (;; ++came) {
        receiving got(server.handle);
        if (!submit(got.op)) {
            settle();
            if (got.op.phase == operation_phase::submitted) {
                world().cancel(got.op);
                finish(got.op);
                break;
            }
        }
        ASSERT_EQ(got.outcome().substr(0, 4), std::to_string(1000 + came));
    }
    EXPECT_GT(came, 1);
    EXPECT_LT(came, sent);
    EXPECT_EQ(send_to(client, "room again", server.address), 10);
    EXPECT_EQ(receive_from(server.handle), "room again|");
}

// --- connected sockets

TEST_P(poller_datagram_test, a_connected_socket_sends_to_its_peer_and_hears_nobody_else) {
    for (const address_family family : {address_family::ipv4, address_family::ipv6}) {
        const endpoint server = bound(family);
        const endpoint client = bound(family);
        const endpoint stranger = bound(family);
        socket_address peer;
        EXPECT_EQ(world().remote_address(client.handle, peer), -ENOTCONN);
        ASSERT_EQ(connect(client.handle, server.address), 0);
        ASSERT_EQ(world().remote_address(client.handle, peer), 0);
        EXPECT_EQ(text_of(peer), text_of(server.address));

        EXPECT_EQ(send_to(client.handle, "by default"), 10);
        EXPECT_EQ(receive_from(server.handle), "by default|");
        EXPECT_EQ(send_to(client.handle, "elsewhere", stranger.address), 9)
            << "an address goes before the peer";
        EXPECT_EQ(receive_from(stranger.handle), "elsewhere|");

        EXPECT_EQ(send_to(stranger.handle, "unasked", client.address), 7);
        EXPECT_EQ(send_to(server.handle, "reply", client.address), 5);
        EXPECT_EQ(receive_from(client.handle), "reply|");
        expect_nothing(client.handle);
    }
}

TEST_P(poller_datagram_test, a_second_connect_chooses_another_peer) {
    const endpoint first = bound();
    const endpoint second = bound();
    const endpoint client = bound();
    ASSERT_EQ(connect(client.handle, first.address), 0);
    ASSERT_EQ(connect(client.handle, second.address), 0);
    EXPECT_EQ(send_to(client.handle, "hello"), 5);
    EXPECT_EQ(receive_from(second.handle), "hello|");
    EXPECT_EQ(send_to(first.handle, "late", client.address), 4);
    EXPECT_EQ(send_to(second.handle, "hello too", client.address), 9);
    EXPECT_EQ(receive_from(client.handle), "hello too|");
}

TEST_P(poller_datagram_test, that_nobody_is_there_is_the_error_of_the_receive_that_waits) {
    const detail::handle client = open_datagram();
    ASSERT_EQ(connect(client, nobody()), 0);
    receiving waits(client);
    ASSERT_FALSE(submit(waits.op));
    settle();
    EXPECT_EQ(send_to(client, "anybody?"), 8);
    finish(waits.op);
    EXPECT_EQ(waits.op.result, -ECONNREFUSED);
    expect_nothing(client);
}

TEST_P(poller_datagram_test, that_nobody_is_there_is_the_error_of_the_next_operation) {
    const detail::handle client = open_datagram();
    ASSERT_EQ(connect(client, nobody()), 0);
    EXPECT_EQ(send_to(client, "first"), 5);
    settle();
    EXPECT_EQ(send_to(client, "second"), -ECONNREFUSED);
    expect_nothing(client);
    EXPECT_EQ(send_to(client, "third"), 5);
    settle();
    EXPECT_EQ(receive_from(client), answer(-ECONNREFUSED));
}

TEST_P(poller_datagram_test, an_unconnected_sender_is_not_told_that_nobody_is_there) {
    const detail::handle client = open_datagram();
    const socket_address where = nobody();
    EXPECT_EQ(send_to(client, "anybody?", where), 8);
    settle();
    EXPECT_EQ(send_to(client, "nobody", where), 6);
    expect_nothing(client);
}

// --- what is refused

TEST_P(poller_datagram_test, where_to_must_be_said_and_must_be_an_address) {
    const detail::handle client = open_datagram();
    EXPECT_EQ(send_to(client, "where to?"), -EDESTADDRREQ);
    EXPECT_EQ(send_to(client, "x", ipv6_address(9)), -EAFNOSUPPORT);
    EXPECT_EQ(send_to(client, "x", ipv4_address(0)), -EINVAL) << "no port";
    socket_address wrong = ipv4_address(9);
    wrong.size = static_cast<std::uint32_t>(wrong.bytes.size()) + 1;
    EXPECT_EQ(send_to(client, "x", wrong), -EINVAL) << "longer than there is room for";
    wrong.size = 4;
    EXPECT_EQ(send_to(client, "x", wrong), -EINVAL) << "shorter than an address";
}

/// Linux would dissolve the connection, and the poller would name a peer that is none. A send would
/// go to the peer, or to an address that is read as one of IPv4.
TEST_P(poller_datagram_test, an_address_of_no_family_is_refused) {
    for (const address_family family : {address_family::ipv4, address_family::ipv6}) {
        const endpoint server = bound(family);
        const detail::handle client = open_datagram(family);
        socket_address nowhere = loopback(family);
        nowhere.bytes[0] = nowhere.bytes[1] = std::byte{0};  // AF_UNSPEC
        EXPECT_EQ(connect(client, nowhere), -EAFNOSUPPORT);
        EXPECT_EQ(send_to(client, "x", nowhere), -EAFNOSUPPORT);
        ASSERT_EQ(connect(client, server.address), 0);
        EXPECT_EQ(connect(client, nowhere), -EAFNOSUPPORT);
        EXPECT_EQ(send_to(client, "x", nowhere), -EAFNOSUPPORT);
        socket_address peer;
        ASSERT_EQ(world().remote_address(client, peer), 0);
        EXPECT_EQ(text_of(peer), text_of(server.address));
        EXPECT_EQ(send_to(client, "still there"), 11);
        EXPECT_EQ(receive_from(server.handle), "still there|");
    }
}

TEST_P(poller_datagram_test, a_socket_of_one_kind_of_ip_does_not_send_to_the_other) {
    in6_addr mapped_loopback{};
    mapped_loopback.s6_addr[10] = mapped_loopback.s6_addr[11] = 0xff;
    mapped_loopback.s6_addr[12] = 127;
    mapped_loopback.s6_addr[15] = 1;
    const endpoint v6 = bound(address_family::ipv6);
    EXPECT_EQ(send_to(v6.handle, "x", ipv6_address(9, mapped_loopback)), -ENETUNREACH);
    EXPECT_EQ(connect(v6.handle, ipv6_address(9, mapped_loopback)), -ENETUNREACH);
    const detail::handle mapped = open_datagram(address_family::ipv6);
    ASSERT_EQ(world().set_option(mapped, socket_option::v6_only, 0), 0);
    ASSERT_EQ(world().bind(mapped, ipv6_address(0, mapped_loopback)), 0);
    EXPECT_EQ(send_to(mapped, "x", v6.address), -EAFNOSUPPORT);
    const endpoint v4 = bound();
    EXPECT_EQ(send_to(mapped, "x", v4.address), 1) << "which is of its kind";
    EXPECT_EQ(receive_from(v4.handle), "x|");
    EXPECT_EQ(send_to(v6.handle, "x", v6.address), 1);
    EXPECT_EQ(receive_from(v6.handle), "x|");
}

TEST_P(poller_datagram_test, a_stream_takes_no_datagrams) {
    const connected_pair pair = connect_pair();
    EXPECT_EQ(send_to(pair.client, "x"), -EOPNOTSUPP);
    EXPECT_EQ(receive_from(pair.client), answer(-EOPNOTSUPP));
    expect_refused_when_not_ready(pair.client);
    EXPECT_EQ(receive_after(pair, "bytes"), "bytes") << "the stream is as before";
}

TEST_P(poller_datagram_test, a_datagram_socket_has_nothing_of_a_connection) {
    const endpoint socket = bound();
    EXPECT_EQ(world().listen(socket.handle, 1), -EOPNOTSUPP);
    const detail::handle unbound = open_datagram();
    file_mark none_made;
    EXPECT_EQ(world().listen_local(unbound, loopback(address_family::ipv4), {1}, none_made),
              -EOPNOTSUPP);
    EXPECT_EQ(world().bind(unbound, loopback(address_family::ipv4)), 0) << "it was not bound";
    EXPECT_EQ(world().close_if_idle(socket.handle), -EOPNOTSUPP);
    EXPECT_EQ(world().shed_connection(socket.handle), -EOPNOTSUPP);
    operation accepting(opcode::accept, socket.handle);
    EXPECT_EQ(run(accepting), -EOPNOTSUPP);
    expect_nothing(socket.handle);
    EXPECT_EQ(run(accepting), -EOPNOTSUPP) << "also when it is known not to be readable";
    operation asking(opcode::accept_if_waiting, socket.handle);
    EXPECT_EQ(run(asking), -EOPNOTSUPP);
    std::uint64_t moved = 0;
    EXPECT_EQ(world().moved_bytes(socket.handle, moved), -EOPNOTSUPP);
    bool input = false;
    EXPECT_EQ(world().has_input(socket.handle, input), -EOPNOTSUPP);
    ASSERT_EQ(connect(socket.handle, bound().address), 0);
    EXPECT_EQ(world().shutdown(socket.handle, shutdown_how::both), -EOPNOTSUPP);
    EXPECT_EQ(world().set_option(socket.handle, socket_option::no_delay, 1), -ENOPROTOOPT);
    EXPECT_EQ(world().set_option(socket.handle, socket_option::reuse_port, 1), 0);
    detail::handle none;
    EXPECT_EQ(world().open_datagram(address_family::local, none), -EAFNOSUPPORT);
}

TEST_P(poller_datagram_test, udp_and_tcp_have_ports_of_their_own) {
    // Another program may have the port of the other protocol: then the next one.
    listener_socket listener = listen();
    detail::handle datagrams = open_datagram();
    for (int tries = 0; tries < 50; ++tries) {
        if (world().bind(datagrams, listener.address) == 0) break;
        listener = listen();
    }
    socket_address same;
    ASSERT_EQ(world().local_address(datagrams, same), 0);
    ASSERT_EQ(text_of(same), text_of(listener.address));

    EXPECT_EQ(send_to(open_datagram(), "by UDP", same), 6);
    const connected_pair pair = connect_pair(listener);
    EXPECT_EQ(receive_after(pair, "by TCP"), "by TCP");
    EXPECT_EQ(receive_from(datagrams), "by UDP|");
    EXPECT_EQ(world().bind(open_datagram(), same), -EADDRINUSE) << "taken within its protocol";
    world().close(datagrams);
    collect_now();
    EXPECT_EQ(connect(open(), listener.address), 0) << "the other one listens still";
}

// --- cancel, close, busy

TEST_P(poller_datagram_test, a_cancelled_receive_takes_no_message) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    for (const bool waits_already : {false, true}) {
        receiving cancelled(server.handle);
        ASSERT_FALSE(submit(cancelled.op));
        if (waits_already) settle();
        world().cancel(cancelled.op);
        world().cancel(cancelled.op);
        EXPECT_EQ(cancelled.op.phase, operation_phase::submitted) << "completes in wait()";
        finish(cancelled.op);
        EXPECT_EQ(cancelled.op.result, -ECANCELED);
        world().cancel(cancelled.op);  // nothing is pending
        EXPECT_EQ(send_to(client, "kept", server.address), 4);
        EXPECT_EQ(receive_from(server.handle), "kept|");
    }
}

/// Success wins: a message is received by the one that was cancelled, or by the next, never lost.
TEST_P(poller_datagram_test, a_cancel_that_races_with_a_message_loses_none) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    for (int i = 0; i < 100; ++i) {
        receiving raced(server.handle);
        ASSERT_FALSE(submit(raced.op));
        if (i % 2 == 0) collect_now();
        sending sent(client, std::to_string(i), server.address);
        const bool done = submit(sent.op);
        if (i % 3 == 0) collect_now();
        world().cancel(raced.op);
        if (!done) finish(sent.op);
        finish(raced.op);
        ASSERT_EQ(sent.op.result, static_cast<std::int32_t>(sent.bytes.size()));
        std::string got = raced.outcome();
        if (raced.op.result == -ECANCELED) got = receive_from(server.handle);
        ASSERT_EQ(got, std::to_string(i) + "|");
    }
    expect_nothing(server.handle);
}

TEST_P(poller_datagram_test, a_cancelled_send_says_whether_its_message_was_sent) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    int pending = 0;
    for (int i = 0; i < 50; ++i) {
        const std::string text = "message " + std::to_string(i);
        sending cancelled(client, text, server.address);
        if (!submit(cancelled.op)) {
            ++pending;
            world().cancel(cancelled.op);
            finish(cancelled.op);
        }
        if (cancelled.op.result == -ECANCELED) {
            expect_nothing(server.handle);
            continue;
        }
        ASSERT_EQ(cancelled.op.result, static_cast<std::int32_t>(text.size()));
        ASSERT_EQ(receive_from(server.handle), text + "|");
    }
    EXPECT_EQ(pending, world().name() == "io_uring" ? 50 : 0) << "others send in submit()";
}

TEST_P(poller_datagram_test, one_of_each_direction_may_be_pending) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    receiving first(server.handle);
    ASSERT_FALSE(submit(first.op));
    EXPECT_EQ(receive_from(server.handle), answer(result_busy));
    EXPECT_EQ(send_to(server.handle, "the other way", bound().address), 13);
    EXPECT_EQ(send_to(client, "for the first", server.address), 13);
    finish(first.op);
    EXPECT_EQ(first.outcome(), "for the first|");
}

TEST_P(poller_datagram_test, close_ends_one_that_waits) {
    for (const bool waits_already : {false, true}) {
        const endpoint server = bound();
        receiving waits(server.handle);
        ASSERT_FALSE(submit(waits.op));
        if (waits_already) settle();
        world().close(server.handle);
        finish(waits.op);
        EXPECT_EQ(waits.op.result, result_closed);
        EXPECT_EQ(receive_from(server.handle), answer(result_closed)) << "stale";
        EXPECT_EQ(send_to(server.handle, "x", server.address), result_closed);
        EXPECT_EQ(world().bind(open_datagram(), server.address), 0) << "the port is free";
    }
}

TEST_P(poller_datagram_test, close_of_a_sender_takes_back_nothing_that_was_sent) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    EXPECT_EQ(send_to(client, "last words", server.address), 10);
    world().close(client);
    EXPECT_EQ(receive_from(server.handle), "last words|");
}

TEST_P(poller_datagram_test, a_socket_that_moves_takes_its_queue_along) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    EXPECT_EQ(send_to(client, "before", server.address), 6);
    settle();
    detached moving;
    ASSERT_EQ(world().detach(server.handle, moving), 0);
    EXPECT_TRUE(moving.datagram);
    EXPECT_EQ(send_to(client, "on the way", server.address), 10);
    settle();
    detail::handle moved;
    ASSERT_EQ(world().attach(std::move(moving), moved), 0);
    keep(moved);
    EXPECT_EQ(receive_from(moved), "before|");
    EXPECT_EQ(receive_from(moved), "on the way|");
    EXPECT_EQ(send_to(moved, "back", bound().address), 4);
}

TEST_P(poller_datagram_test, a_connected_socket_that_moves_keeps_its_peer) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    ASSERT_EQ(connect(client, server.address), 0);
    detached moving;
    ASSERT_EQ(world().detach(client, moving), 0);
    detail::handle moved;
    ASSERT_EQ(world().attach(std::move(moving), moved), 0);
    keep(moved);
    expect_connected(moved, server);
}

TEST_P(poller_datagram_test, a_place_that_is_reused_belongs_to_who_came_last) {
    socket_address where;
    const auto at = bound_together(socket_option::reuse_address, where);
    for (int i = 0; i < 8; ++i) {
        EXPECT_EQ(send_to(open_datagram(), "x", where), 1);
        EXPECT_EQ(receive_from(at[2]), "x|");
    }
    expect_nothing(at[0]);
    expect_nothing(at[1]);
}

TEST_P(poller_datagram_test, all_of_the_loopback_net_is_reached_from_one_address) {
    const endpoint server{open_datagram(), {}};
    ASSERT_EQ(world().bind(server.handle, ipv4_address(0, 0x7f000005)), 0);
    socket_address there;
    ASSERT_EQ(world().local_address(server.handle, there), 0);
    const detail::handle client = open_datagram();
    ASSERT_EQ(world().bind(client, ipv4_address(0, INADDR_ANY)), 0);
    ASSERT_EQ(connect(client, there), 0);
    socket_address ours;
    ASSERT_EQ(world().local_address(client, ours), 0);
    EXPECT_EQ(text_of(ours).rfind("127.0.0.1:", 0), 0u) << text_of(ours);
    EXPECT_EQ(send_to(client, "x"), 1);
    receiving got(server.handle);
    run(got.op);
    EXPECT_EQ(text_of(got.message.peer), text_of(ours));
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
