// Rule 3 of the waist: cancel asks, success wins, and nothing that was taken is lost.
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <deque>
#include <thread>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_cancel_test : public poller_fixture {
protected:
    /// Cancels and answers the result, which must come through wait() and not inside cancel().
    std::int32_t cancelled(operation& op) {
        world().cancel(op);
        EXPECT_EQ(op.phase, operation_phase::submitted) << "cancel() completed the operation";
        finish(op);
        return op.result;
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_cancel_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_cancel_test, pending_receive_takes_no_byte) {
    const connected_pair pair = connect_pair();
    for (const opcode code : {opcode::receive, opcode::receive_leased}) {
        std::string into(8, '\0');
        operation receiving(code, pair.server);
        io_slice room{into.data(), into.size()};
        ask_for(receiving, room);
        ASSERT_FALSE(submit(receiving));
        settle(1ms);
        EXPECT_EQ(cancelled(receiving), -ECANCELED);
        EXPECT_EQ(receive_after(pair, "intact"), "intact");
    }
}

TEST_P(poller_cancel_test, pending_vectored_receive_takes_no_byte) {
    const connected_pair pair = connect_pair();
    std::string into(8, '\0');
    io_slice slice{into.data(), into.size()};
    operation receiving(opcode::receive_vectored, pair.server);
    receiving.slices.first = &slice;
    receiving.slices.count = 1;
    ASSERT_FALSE(submit(receiving));
    EXPECT_EQ(cancelled(receiving), -ECANCELED);
    EXPECT_EQ(receive_after(pair, "intact"), "intact");
}

TEST_P(poller_cancel_test, cancel_before_the_first_wait) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    EXPECT_EQ(cancelled(receiving), -ECANCELED);
}

TEST_P(poller_cancel_test, cancel_twice_completes_once) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().cancel(receiving);
    world().cancel(receiving);
    EXPECT_EQ(cancelled(receiving), -ECANCELED);
    settle();
}

TEST_P(poller_cancel_test, cancel_of_a_completed_operation_is_nothing) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "a");
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_EQ(run(receiving), 1);
    world().cancel(receiving);
    EXPECT_EQ(receiving.result, 1);
    operation never_submitted(opcode::receive, pair.server);
    world().cancel(never_submitted);
    settle();
    EXPECT_EQ(receive_after(pair, "next"), "next") << "the cancel met a later operation";
}

TEST_P(poller_cancel_test, cancelled_operation_may_be_submitted_again) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    for (int i = 0; i < 50; ++i) {
        ASSERT_FALSE(submit(receiving));
        EXPECT_EQ(cancelled(receiving), -ECANCELED);
    }
    send_all(pair.client, "r");
    EXPECT_EQ(run(receiving), 1);
    EXPECT_EQ(into, 'r');
}

/// More completions than one wait() may collect, each with a cancel that comes too late: it must
/// not hit the next operation on the same socket.
TEST_P(poller_cancel_test, late_cancel_does_not_meet_the_next_operation) {
    constexpr std::size_t many = 300;
    const listener_socket listener = listen();
    std::vector<connected_pair> pairs;
    std::deque<operation> first;
    std::deque<operation> second;
    std::vector<std::array<char, 2>> into(many);
    for (std::size_t i = 0; i < many; ++i) {
        pairs.push_back(connect_pair(listener));
        operation& op = first.emplace_back(opcode::receive, pairs.back().server);
        op.buffer.data = into[i].data();
        op.buffer.size = 1;
        ASSERT_FALSE(submit(op));
        operation& next = second.emplace_back(opcode::receive, pairs.back().server);
        next.buffer.data = into[i].data();
        next.buffer.size = 1;
    }
    std::deque<operation> sending;
    char letter = 'l';
    for (const connected_pair& pair : pairs) {
        operation& op = sending.emplace_back(opcode::send, pair.client);
        op.buffer.data = &letter;
        op.buffer.size = 1;
        submit(op);
    }
    for (operation& op : first) world().cancel(op);
    const auto submit_next = [&] {
        bool all = true;
        for (std::size_t i = 0; i < many; ++i) {
            const bool done = first[i].phase == operation_phase::completed;
            all = all && done;
            if (!done || second[i].phase != operation_phase::idle) continue;
            // Cancelled: the byte is still to come; else it is taken, and the next stays pending.
            if (first[i].result == 1) submit(second[i]);
        }
        return all;
    };
    until("the first receives complete", submit_next);
    settle();
    for (operation& op : sending) finish(op);
    for (std::size_t i = 0; i < many; ++i) {
        if (second[i].phase == operation_phase::idle) continue;
        EXPECT_EQ(second[i].phase, operation_phase::submitted) << second[i].result;
        send_all(pairs[i].client, "n");
        finish(second[i]);
        EXPECT_EQ(second[i].result, 1);
    }
}

TEST_P(poller_cancel_test, other_direction_is_not_disturbed) {
    const connected_pair pair = narrow_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.client);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    std::vector<std::byte> buffer;
    operation sending(opcode::send, pair.client);
    fill(sending, buffer);
    cancelled(sending);
    EXPECT_EQ(receiving.phase, operation_phase::submitted);
    send_all(pair.server, "k");
    finish(receiving);
    EXPECT_EQ(into, 'k');
}

TEST_P(poller_cancel_test, pending_send_reports_exactly_what_it_moved) {
    const connected_pair pair = narrow_pair();
    std::vector<std::byte> buffer;
    operation sending(opcode::send, pair.client);
    std::size_t sent = fill(sending, buffer);
    const std::int32_t result = cancelled(sending);
    EXPECT_TRUE(result == -ECANCELED || result > 0) << result;
    if (result > 0) sent += static_cast<std::size_t>(result);
    EXPECT_EQ(world().shutdown(pair.client, shutdown_how::send), 0);
    std::int32_t end = -1;
    EXPECT_EQ(drain_pattern(pair.server, SIZE_MAX, end), sent);
    EXPECT_EQ(end, 0);
}

/// The heart of rule 3: whatever the order of arrival, cancel and wait, the bytes delivered and the
/// bytes left make up what was sent, in order.
TEST_P(poller_cancel_test, receive_race_conserves_bytes) {
    const connected_pair pair = connect_pair();
    std::size_t sent = 0;
    std::size_t received = 0;
    int won = 0;
    for (std::size_t i = 0; i < 2000; ++i) {
        std::array<std::byte, 8> into{};
        operation receiving(i % 5 == 4 ? opcode::receive_leased : opcode::receive, pair.server);
        io_slice room{into.data(), into.size()};
        ask_for(receiving, room);
        std::vector<std::byte> out = pattern_bytes(sent, 1 + i % 7);
        operation sending(opcode::send, pair.client);
        sending.buffer.data = out.data();
        sending.buffer.size = out.size();

        if (i % 3 == 0) submit(sending);
        submit(receiving);
        if (i % 2 == 0) collect_now();
        if (i % 3 == 1) submit(sending);
        if (i % 7 == 3) collect_now();
        world().cancel(receiving);
        if (i % 3 == 2) submit(sending);
        if (i % 11 == 5) world().cancel(receiving);
        finish(receiving);
        finish(sending);
        ASSERT_EQ(sending.result, static_cast<std::int32_t>(out.size()));
        sent += out.size();
        if (receiving.result == -ECANCELED) continue;
        ASSERT_GT(receiving.result, 0);
        ++won;
        const bool leased = receiving.code == opcode::receive_leased;
        const auto part = static_cast<std::size_t>(receiving.result);
        const auto* bytes = leased ? static_cast<std::byte*>(receiving.lease_data) : into.data();
        ASSERT_EQ(first_difference(bytes, part, received), part) << "round " << i;
        received += part;
        if (leased) {
            world().return_lease(receiving.lease_id, receiving.lease_data,
                                 receiving.lease_from_heap);
        }
    }
    while (received < sent) received = drain_more(pair.server, received);
    EXPECT_EQ(received, sent);
    EXPECT_GT(won, 0) << "no receive won: the race was not run";
}

TEST_P(poller_cancel_test, send_race_conserves_bytes) {
    const connected_pair pair = narrow_pair();
    std::size_t sent = 0;
    std::size_t received = 0;
    for (std::size_t i = 0; i < 300; ++i) {
        std::vector<std::byte> out = pattern_bytes(sent, 20000 + i);
        operation sending(opcode::send, pair.client);
        sending.buffer.data = out.data();
        sending.buffer.size = out.size();
        submit(sending);
        if (i % 2 == 0) collect_now();
        if (received < sent && i % 3 != 0) received = drain_more(pair.server, received);
        world().cancel(sending);
        finish(sending);
        ASSERT_TRUE(sending.result > 0 || sending.result == -ECANCELED) << sending.result;
        if (sending.result > 0) sent += static_cast<std::size_t>(sending.result);
    }
    EXPECT_EQ(world().shutdown(pair.client, shutdown_how::send), 0);
    while (received < sent) received = drain_more(pair.server, received);
    EXPECT_EQ(receive(pair.server), "<0>") << "more bytes came than were reported as sent";
}

TEST_P(poller_cancel_test, cancelled_accept_loses_no_connection) {
    const listener_socket listener = listen();
    operation accepting(opcode::accept, listener.handle);
    ASSERT_FALSE(submit(accepting));
    settle(1ms);
    EXPECT_EQ(cancelled(accepting), -ECANCELED);
    const detail::handle client = open();
    ASSERT_EQ(connect(client, listener.address), 0);
    const connected_pair pair{client, accept(listener)};
    EXPECT_EQ(receive_after(pair, "served"), "served");
}

TEST_P(poller_cancel_test, accept_race_conserves_connections) {
    const listener_socket listener = listen();
    int accepted = 0;
    constexpr int rounds = 300;
    for (int i = 0; i < rounds; ++i) {
        operation accepting(opcode::accept, listener.handle);
        socket_address where = listener.address;
        operation connecting(opcode::connect, open());
        connecting.where = &where;
        if (i % 3 == 0) submit(connecting);
        submit(accepting);
        if (i % 2 == 0) collect_now();
        if (i % 3 == 1) submit(connecting);
        if (i % 5 == 2) collect_now();
        world().cancel(accepting);
        if (i % 3 == 2) submit(connecting);
        finish(accepting);
        finish(connecting);
        ASSERT_EQ(connecting.result, 0);
        if (accepting.result == 0) {
            ++accepted;
            keep(accepting.accepted);
        } else {
            ASSERT_EQ(accepting.result, -ECANCELED);
        }
    }
    for (; accepted < rounds; ++accepted) accept(listener);  // a lost one would hang here
    operation one_more(opcode::accept, listener.handle);
    EXPECT_FALSE(submit(one_more)) << "more connections were accepted than were made";
    settle();
    EXPECT_EQ(one_more.phase, operation_phase::submitted);
    world().cancel(one_more);
    finish(one_more);
}

TEST_P(poller_cancel_test, pending_connect) {
    const listener_socket listener = listen(0);
    const detail::handle first = open();
    ASSERT_EQ(connect(first, listener.address), 0);
    await_queue(listener, 1);
    socket_address where = listener.address;
    operation connecting(opcode::connect, open());
    connecting.where = &where;
    ASSERT_FALSE(submit(connecting));
    settle(20ms);
    ASSERT_EQ(connecting.phase, operation_phase::submitted) << "the backlog should be full";
    EXPECT_EQ(cancelled(connecting), -ECANCELED);
    world().close(connecting.target);
    const connected_pair pair{first, accept(listener)};
    EXPECT_EQ(receive_after(pair, "first"), "first");

    operation accepting(opcode::accept, listener.handle);
    EXPECT_FALSE(submit(accepting));
    settle();
    EXPECT_EQ(accepting.phase, operation_phase::submitted) << "the cancelled connect came through";
    world().cancel(accepting);
    finish(accepting);
}

// --- against another thread

class poller_cancel_thread_test : public poller_cancel_test {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(poller_cancel_thread_test);  // CORO_POLLER=simulation
INSTANTIATE_TEST_SUITE_P(real_worlds, poller_cancel_thread_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(poller_cancel_thread_test, receive_race_with_a_sender_on_another_thread) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    detail::handle server;
    ASSERT_EQ(world().adopt(ends[1], server), 0);
    keep(server);
    constexpr std::size_t rounds = 2000;
    std::atomic<std::size_t> round{0};
    std::thread sender([&, peer = ends[0]] {
        for (std::size_t i = 0; i < rounds; ++i) {
            while (round.load(std::memory_order_acquire) < i) std::this_thread::yield();
            const std::byte one = pattern(i);
            if (::write(peer, &one, 1) != 1) break;
        }
        ::close(peer);
    });
    std::size_t received = 0;
    for (std::size_t i = 0; i < rounds; ++i) {
        std::array<std::byte, 16> into{};
        operation receiving(opcode::receive, server);
        receiving.buffer.data = into.data();
        receiving.buffer.size = into.size();
        round.store(i, std::memory_order_release);
        submit(receiving);
        for (std::size_t turn = 0; turn < i % 4; ++turn) collect_now();
        world().cancel(receiving);
        finish(receiving);
        if (receiving.result == -ECANCELED) continue;
        const auto part = static_cast<std::size_t>(receiving.result);
        ASSERT_GT(receiving.result, 0);
        ASSERT_EQ(first_difference(into.data(), part, received), part) << "round " << i;
        received += part;
    }
    std::int32_t end = -1;
    while (received < rounds) received = drain_more(server, received);
    sender.join();
    drain_pattern(server, 1, end);
    EXPECT_EQ(end, 0);
    EXPECT_EQ(received, rounds);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
