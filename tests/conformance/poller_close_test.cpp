// Rule 5 of the waist, and how connections end: close, stale handles, half-close, reset.
#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_close_test : public poller_fixture {
protected:
    /// Waits until the poller has as many sockets as before.
    void until_sockets(std::uint64_t count) {
        for (int turn = 0; turn < 2000 && world().census().sockets != count; ++turn) {
            collect(world().now() + 1ms);
        }
        EXPECT_EQ(world().census().sockets, count);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_close_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

// --- close

TEST_P(poller_close_test, pending_receive_ends_as_closed) {
    const connected_pair pair = connect_pair();
    for (const opcode code : {opcode::receive, opcode::receive_leased}) {
        const connected_pair other = connect_pair();
        std::string into(8, '\0');
        operation receiving(code, other.server);
        io_slice room{into.data(), into.size()};
        ask_for(receiving, room);
        ASSERT_FALSE(submit(receiving));
        settle(1ms);
        world().close(other.server);
        EXPECT_EQ(receiving.phase, operation_phase::submitted) << "close() completed it in place";
        finish(receiving);
        EXPECT_EQ(receiving.result, result_closed);
        EXPECT_EQ(receive(other.client), "<0>") << "the peer sees an orderly end";
    }
    EXPECT_EQ(receive_after(pair, "others"), "others");
}

TEST_P(poller_close_test, pending_receive_and_send_end_as_closed) {
    const connected_pair pair = narrow_pair();
    const std::uint64_t sockets = world().census().sockets;
    std::string into(8, '\0');
    operation receiving(opcode::receive, pair.client);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    ASSERT_FALSE(submit(receiving));
    std::vector<std::byte> buffer;
    operation sending(opcode::send, pair.client);
    fill(sending, buffer);
    world().close(pair.client);
    finish(receiving);
    finish(sending);
    EXPECT_EQ(receiving.result, result_closed);
    EXPECT_TRUE(sending.result == result_closed || sending.result > 0) << sending.result;
    until_sockets(sockets - 1);
}

TEST_P(poller_close_test, pending_accept_ends_as_closed) {
    const listener_socket listener = listen();
    operation accepting(opcode::accept, listener.handle);
    ASSERT_FALSE(submit(accepting));
    settle(1ms);
    world().close(listener.handle);
    finish(accepting);
    EXPECT_EQ(accepting.result, result_closed);
    EXPECT_EQ(connect(open(), listener.address), -ECONNREFUSED);
}

TEST_P(poller_close_test, pending_connect_ends_as_closed) {
    const listener_socket listener = listen(0);
    ASSERT_EQ(connect(open(), listener.address), 0);
    await_queue(listener, 1);
    socket_address where = listener.address;
    operation connecting(opcode::connect, open());
    connecting.where = &where;
    ASSERT_FALSE(submit(connecting));
    settle(20ms);
    ASSERT_EQ(connecting.phase, operation_phase::submitted) << "the backlog should be full";
    world().close(connecting.target);
    finish(connecting);
    EXPECT_EQ(connecting.result, result_closed);
}

TEST_P(poller_close_test, cancel_and_close_together_complete_once) {
    const connected_pair pair = connect_pair();
    for (const bool cancel_first : {true, false}) {
        const connected_pair other = connect_pair();
        char into = 0;
        operation receiving(opcode::receive, other.server);
        receiving.buffer.data = &into;
        receiving.buffer.size = 1;
        ASSERT_FALSE(submit(receiving));
        if (cancel_first) world().cancel(receiving);
        world().close(other.server);
        if (!cancel_first) world().cancel(receiving);
        finish(receiving);
        EXPECT_TRUE(receiving.result == result_closed || receiving.result == -ECANCELED)
            << receiving.result;
    }
    EXPECT_EQ(receive_after(pair, "others"), "others");
}

TEST_P(poller_close_test, bytes_sent_before_close_arrive) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "farewell");
    world().close(pair.client);
    EXPECT_EQ(receive_exactly(pair.server, 8), "farewell");
    EXPECT_EQ(receive(pair.server), "<0>");
}

TEST_P(poller_close_test, descriptors_return_while_the_poller_lives) {
    const listener_socket listener = listen();
    settle(1ms);
    const std::uint64_t sockets = world().census().sockets;
    const std::size_t descriptors = open_descriptors();
    for (int i = 0; i < 20; ++i) {
        const connected_pair pair = connect_pair(listener);
        std::array<char, 4> into{};
        operation receiving(opcode::receive, pair.server);
        receiving.buffer.data = into.data();
        receiving.buffer.size = into.size();
        submit(receiving);
        world().close(pair.server);
        finish(receiving);
        world().close(pair.client);
    }
    until_sockets(sockets);
    EXPECT_EQ(open_descriptors(), descriptors);
}

TEST_P(poller_close_test, close_race_conserves_operations) {
    const listener_socket listener = listen();
    for (int i = 0; i < 300; ++i) {
        const connected_pair pair = connect_pair(listener);
        char into = 0;
        operation receiving(opcode::receive, pair.server);
        receiving.buffer.data = &into;
        receiving.buffer.size = 1;
        submit(receiving);
        if (i % 2 == 0) collect_now();
        char letter = 'q';
        operation sending(opcode::send, pair.client);
        sending.buffer.data = &letter;
        sending.buffer.size = 1;
        submit(sending);
        if (i % 3 == 0) collect_now();
        world().close(pair.server);
        if (i % 5 == 0) world().close(pair.client);
        finish(receiving);
        finish(sending);
        EXPECT_TRUE(receiving.result == 1 || receiving.result == result_closed)
            << receiving.result;
        if (receiving.result == 1) {
            EXPECT_EQ(into, 'q');
        }
        world().close(pair.client);
    }
    until_sockets(1);
}

// --- stale handles

TEST_P(poller_close_test, stale_handle_answers_closed_everywhere) {
    const connected_pair old = connect_pair();
    world().close(old.server);
    const connected_pair fresh = connect_pair();  // may live in the slot that was left
    EXPECT_NE(old.server, fresh.server);

    for (const opcode code : {opcode::receive, opcode::receive_vectored, opcode::receive_leased,
                              opcode::send, opcode::send_vectored, opcode::accept}) {
        char letter = 's';
        io_slice slice{&letter, 1};
        operation op(code, old.server);
        if (code != opcode::accept) ask_for(op, slice);
        EXPECT_TRUE(submit(op));
        EXPECT_EQ(op.result, result_closed) << static_cast<int>(code);
    }
    for (const opcode code : {opcode::receive_from, opcode::send_to}) {
        datagram_request message;
        operation op(code, old.server);
        op.datagram = &message;
        EXPECT_TRUE(submit(op));
        EXPECT_EQ(op.result, result_closed) << static_cast<int>(code);
    }
    EXPECT_EQ(connect(old.server, loopback(address_family::ipv4, 1)), result_closed);

    int value = 0;
    socket_address address;
    std::uint64_t moved = 0;
    EXPECT_EQ(world().bind(old.server, loopback(address_family::ipv4)), result_closed);
    EXPECT_EQ(world().listen(old.server, 1), result_closed);
    EXPECT_EQ(world().set_option(old.server, socket_option::no_delay, 1), result_closed);
    EXPECT_EQ(world().get_option(old.server, socket_option::no_delay, value), result_closed);
    EXPECT_EQ(world().local_address(old.server, address), result_closed);
    EXPECT_EQ(world().remote_address(old.server, address), result_closed);
    EXPECT_EQ(world().shutdown(old.server, shutdown_how::both), result_closed);
    EXPECT_EQ(world().moved_bytes(old.server, moved), result_closed);
    bool input = false;
    EXPECT_EQ(world().has_input(old.server, input), result_closed);
    EXPECT_EQ(world().notes(old.server), nullptr);
    EXPECT_EQ(world().shed_connection(old.server), result_closed);
    world().close(old.server);

    EXPECT_EQ(receive_after(fresh, "untouched"), "untouched");
}

TEST_P(poller_close_test, handle_that_never_was_answers_closed) {
    EXPECT_EQ(send({}, "x"), result_closed);
    EXPECT_EQ(send({0, 77}, "x"), result_closed);
    EXPECT_EQ(send({123456, 1}, "x"), result_closed);
    world().close({});
    world().close({123456, 1});
}

TEST_P(poller_close_test, closing_handle_is_closed_for_newcomers) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().close(pair.server);
    EXPECT_EQ(send(pair.server, "x"), result_closed);
    finish(receiving);
}

TEST_P(poller_close_test, reused_slots_do_not_hear_of_their_predecessors) {
    const listener_socket listener = listen();
    for (int i = 0; i < 200; ++i) {
        const connected_pair old = connect_pair(listener);
        char into = 0;
        operation receiving(opcode::receive, old.server);
        receiving.buffer.data = &into;
        receiving.buffer.size = 1;
        submit(receiving);
        send_all(old.client, "o");  // an event for the old slot may be on its way
        world().close(old.server);
        world().close(old.client);
        const connected_pair fresh = connect_pair(listener);
        EXPECT_EQ(receive_after(fresh, "f"), "f");
        finish(receiving);
        world().close(fresh.server);
        world().close(fresh.client);
    }
}

// --- half-close

TEST_P(poller_close_test, half_closed_connection_still_carries_the_other_way) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "ask");
    EXPECT_EQ(world().shutdown(pair.client, shutdown_how::send), 0);
    EXPECT_EQ(receive_exactly(pair.server, 3), "ask");
    EXPECT_EQ(receive(pair.server), "<0>");
    EXPECT_EQ(send(pair.client, "more"), -EPIPE);
    for (int i = 0; i < 10; ++i) {
        send_all(pair.server, "reply");
        EXPECT_EQ(receive_exactly(pair.client, 5), "reply");
    }
    world().close(pair.server);
    EXPECT_EQ(receive(pair.client), "<0>");
}

TEST_P(poller_close_test, receive_pending_over_a_half_close_gets_the_reply) {
    const connected_pair pair = connect_pair();
    std::array<char, 8> into{};
    operation receiving(opcode::receive, pair.client);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    ASSERT_FALSE(submit(receiving));
    EXPECT_EQ(world().shutdown(pair.client, shutdown_how::send), 0);
    EXPECT_EQ(receive(pair.server), "<0>");
    EXPECT_EQ(receiving.phase, operation_phase::submitted);
    send_all(pair.server, "late");
    finish(receiving);
    EXPECT_EQ(receiving.result, 4);
}

TEST_P(poller_close_test, shutting_the_receiving_side_ends_a_pending_receive) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    settle(1ms);
    EXPECT_EQ(world().shutdown(pair.server, shutdown_how::receive), 0);
    finish(receiving);
    EXPECT_EQ(receiving.result, 0);
}

TEST_P(poller_close_test, shutting_the_sending_side_ends_a_pending_send) {
    const connected_pair pair = narrow_pair();
    std::vector<std::byte> buffer;
    operation sending(opcode::send, pair.client);
    std::size_t sent = fill(sending, buffer);
    EXPECT_EQ(world().shutdown(pair.client, shutdown_how::send), 0);
    finish(sending);
    EXPECT_TRUE(sending.result == -EPIPE || sending.result > 0) << sending.result;
    if (sending.result > 0) sent += static_cast<std::size_t>(sending.result);
    std::int32_t end = -1;
    EXPECT_EQ(drain_pattern(pair.server, SIZE_MAX, end), sent);
    EXPECT_EQ(end, 0);
}

TEST_P(poller_close_test, shutdown_of_an_unconnected_socket_is_refused) {
    EXPECT_EQ(world().shutdown(open(), shutdown_how::send), -ENOTCONN);
}

// --- reset

TEST_P(poller_close_test, close_with_unread_input_resets) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "unread");
    settle(1ms);
    world().close(pair.server);
    EXPECT_EQ(receive(pair.client), answer(-ECONNRESET));
    EXPECT_EQ(receive(pair.client), "<0>") << "an error is reported once";
    EXPECT_EQ(send(pair.client, "x"), -EPIPE);
}

TEST_P(poller_close_test, close_with_linger_zero_resets) {
    const connected_pair pair = connect_pair();
    EXPECT_EQ(world().set_option(pair.server, socket_option::linger, 0), 0);
    char into = 0;
    operation receiving(opcode::receive, pair.client);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().close(pair.server);
    finish(receiving);
    EXPECT_EQ(receiving.result, -ECONNRESET);
}

TEST_P(poller_close_test, reset_ends_a_pending_send) {
    const connected_pair pair = narrow_pair();
    EXPECT_EQ(world().set_option(pair.server, socket_option::linger, 0), 0);
    std::vector<std::byte> buffer;
    operation sending(opcode::send, pair.client);
    fill(sending, buffer);
    world().close(pair.server);
    finish(sending);
    // Bytes that had moved before the reset are a success; the reset must then come out of the next
    // call: whoever only receives would else take the reset for an orderly end.
    EXPECT_TRUE(sending.result == -ECONNRESET || sending.result > 0) << sending.result;
    if (sending.result > 0) {
        EXPECT_EQ(send(pair.client, "x"), -ECONNRESET) << "the reset was swallowed";
    }
    EXPECT_EQ(send(pair.client, "x"), -EPIPE);
}

TEST_P(poller_close_test, reset_ends_both_directions) {
    const connected_pair pair = narrow_pair();
    EXPECT_EQ(world().set_option(pair.server, socket_option::linger, 0), 0);
    char into = 0;
    operation receiving(opcode::receive, pair.client);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    std::vector<std::byte> buffer;
    operation sending(opcode::send, pair.client);
    fill(sending, buffer);
    world().close(pair.server);
    finish(receiving);
    finish(sending);
    // The kernel reports the reset to whichever of the two it wakes first, or to the next call when
    // the send had moved bytes before. It must come out once: 0 alone would be an orderly end.
    int resets = 0;
    if (receiving.result == -ECONNRESET) ++resets;
    if (sending.result == -ECONNRESET) ++resets;
    if (resets == 0 && receive(pair.client) == answer(-ECONNRESET)) ++resets;
    EXPECT_EQ(resets, 1) << "receive: " << receiving.result << ", send: " << sending.result;
    EXPECT_TRUE(receiving.result == -ECONNRESET || receiving.result == 0) << receiving.result;
    EXPECT_TRUE(broken_pipe_or_reset(sending.result) || sending.result > 0) << sending.result;
}

TEST_P(poller_close_test, connection_reset_in_the_backlog_is_still_accepted) {
    const listener_socket listener = listen();
    const detail::handle client = open();
    ASSERT_EQ(connect(client, listener.address), 0);
    EXPECT_EQ(world().set_option(client, socket_option::linger, 0), 0);
    world().close(client);
    settle(1ms);
    operation accepting(opcode::accept, listener.handle);
    const std::int32_t result = run(accepting);
    keep(accepting.accepted);
    ASSERT_EQ(result, 0) << "accept(2): Linux hands the dead connection out";
    EXPECT_EQ(receive(accepting.accepted), answer(-ECONNRESET));
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
