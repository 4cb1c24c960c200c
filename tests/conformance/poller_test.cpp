// The waist in executable form: operations and what they answer (rules 1, 2, 4 and 10 of
// src/runtime/poller.hpp). The other rules are in poller_*_test.cpp beside this file.
#include <csignal>

#include <array>
#include <deque>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_test : public poller_fixture {};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

// --- rule 1: every operation completes exactly once, at once or later

TEST_P(poller_test, bytes_go_both_ways) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "question");
    EXPECT_EQ(receive_exactly(pair.server, 8), "question");
    send_all(pair.server, "answer");
    EXPECT_EQ(receive_exactly(pair.client, 6), "answer");
}

TEST_P(poller_test, receive_stays_pending_until_bytes_come) {
    const connected_pair pair = connect_pair();
    std::array<char, 16> into{};
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    ASSERT_FALSE(submit(receiving));
    EXPECT_EQ(world().census().operations, 1u);
    settle();
    ASSERT_EQ(receiving.phase, operation_phase::submitted);
    send_all(pair.client, "now");
    finish(receiving);
    EXPECT_EQ(receiving.result, 3);
    EXPECT_EQ(std::string_view(into.data(), 3), "now");
    settle();  // the fixture fails when it arrives again
}

TEST_P(poller_test, receive_of_bytes_that_are_there_completes_once) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "early");
    settle();
    std::array<char, 16> into{};
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    EXPECT_EQ(run(receiving), 5);
    settle();
}

TEST_P(poller_test, completed_operation_may_be_submitted_again) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    for (const char letter : {'a', 'b', 'c'}) {
        send_all(pair.client, {&letter, 1});
        EXPECT_EQ(run(receiving), 1);
        EXPECT_EQ(into, letter);
    }
}

TEST_P(poller_test, nothing_of_the_peer_completes_inside_submit) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    char letter = 'x';
    operation sending(opcode::send, pair.client);
    sending.buffer.data = &letter;
    sending.buffer.size = 1;
    submit(sending);
    EXPECT_EQ(receiving.phase, operation_phase::submitted);
    finish(receiving);
    finish(sending);
}

TEST_P(poller_test, all_that_is_complete_is_collected) {
    const listener_socket listener = listen();
    std::deque<operation> receiving;
    std::array<char, 40> into{};
    std::vector<connected_pair> pairs;
    for (std::size_t i = 0; i < into.size(); ++i) {
        pairs.push_back(connect_pair(listener));
        operation& op = receiving.emplace_back(opcode::receive, pairs.back().server);
        op.buffer.data = &into[i];
        op.buffer.size = 1;
        ASSERT_FALSE(submit(op));
    }
    for (const connected_pair& pair : pairs) send_all(pair.client, "z");
    for (operation& op : receiving) {
        finish(op);
        EXPECT_EQ(op.result, 1);
    }
}

TEST_P(poller_test, counters_count_submissions_completions_and_cancels) {
    const connected_pair pair = connect_pair();
    const poller_counters before = world().counters;
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().cancel(receiving);
    finish(receiving);
    send_all(pair.client, "x");
    const poller_counters& after = world().counters;
    EXPECT_EQ(after.submitted - before.submitted, 2u);
    EXPECT_EQ(after.completed - before.completed, 2u);
    EXPECT_EQ(after.cancels - before.cancels, 1u);
    EXPECT_GT(after.waits, before.waits);
    EXPECT_GT(after.sends, before.sends);
}

// --- rule 2: what results mean

TEST_P(poller_test, end_of_stream_is_zero_each_time) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "last");
    world().close(pair.client);
    EXPECT_EQ(receive_exactly(pair.server, 4), "last");
    EXPECT_EQ(receive(pair.server), "<0>");
    EXPECT_EQ(receive(pair.server), "<0>");
}

TEST_P(poller_test, pending_receive_sees_the_end) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    world().close(pair.client);
    finish(receiving);
    EXPECT_EQ(receiving.result, 0);
}

TEST_P(poller_test, connect_without_a_listener_is_refused) {
    const listener_socket listener = listen();
    world().close(listener.handle);
    settle();
    EXPECT_EQ(connect(open(), listener.address), -ECONNREFUSED);
}

TEST_P(poller_test, sends_after_the_peer_closed_end_in_an_error_without_sigpipe) {
    // The default action of SIGPIPE would end this program.
    ASSERT_NE(std::signal(SIGPIPE, SIG_DFL), SIG_ERR);
    const connected_pair pair = connect_pair();
    world().close(pair.client);
    EXPECT_EQ(receive(pair.server), "<0>");
    EXPECT_EQ(send(pair.server, "a"), 1) << "nobody can know yet that the peer is gone";
    std::int32_t result = 1;
    while (result > 0) {
        settle(1ms);
        result = send(pair.server, "b");
    }
    EXPECT_TRUE(broken_pipe_or_reset(result)) << result;
    EXPECT_EQ(send(pair.server, "c"), -EPIPE);

    std::string text = "d";
    io_slice slice{text.data(), text.size()};
    operation vectored(opcode::send_vectored, pair.server);
    vectored.slices.first = &slice;
    vectored.slices.count = 1;
    EXPECT_EQ(run(vectored), -EPIPE);
}

TEST_P(poller_test, receive_on_an_unconnected_socket_is_refused) {
    EXPECT_EQ(receive(open()), answer(-ENOTCONN));
}

TEST_P(poller_test, accept_without_listening_is_refused) {
    operation accepting(opcode::accept, open());
    EXPECT_EQ(run(accepting), -EINVAL);
}

TEST_P(poller_test, connect_of_a_connected_socket_is_refused) {
    const listener_socket listener = listen();
    const connected_pair pair = connect_pair(listener);
    EXPECT_EQ(connect(pair.client, listener.address), -EISCONN);
}

TEST_P(poller_test, short_receive_leaves_the_rest) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "abcdef");
    EXPECT_EQ(receive_exactly(pair.server, 2), "ab");
    EXPECT_EQ(receive_exactly(pair.server, 3), "cde");
    EXPECT_EQ(receive_exactly(pair.server, 1), "f");
}

TEST_P(poller_test, vectored_transfers_skip_empty_slices) {
    const connected_pair pair = connect_pair();
    std::string first = "ab";
    std::string second = "cde";
    std::array<io_slice, 4> out{
        {{first.data(), 2}, {nullptr, 0}, {second.data(), 3}, {nullptr, 0}}};
    operation sending(opcode::send_vectored, pair.client);
    sending.slices.first = out.data();
    sending.slices.count = out.size();
    EXPECT_EQ(run(sending), 5);
    settle(1ms);
    std::string left(1, '\0');
    std::string right(9, '\0');
    std::array<io_slice, 3> in{{{left.data(), 1}, {nullptr, 0}, {right.data(), 9}}};
    operation receiving(opcode::receive_vectored, pair.server);
    receiving.slices.first = in.data();
    receiving.slices.count = in.size();
    EXPECT_EQ(run(receiving), 5);
    EXPECT_EQ(left + right.substr(0, 4), "abcde");
}

// --- rule 4: one pending operation a direction

TEST_P(poller_test, second_receive_is_busy_and_disturbs_nobody) {
    const connected_pair pair = connect_pair();
    std::array<char, 3> into{};
    operation first(opcode::receive, pair.server);
    first.buffer.data = into.data();
    first.buffer.size = into.size();
    ASSERT_FALSE(submit(first));
    for (const opcode code : {opcode::receive, opcode::receive_leased}) {
        std::array<char, 3> other{};
        operation second(code, pair.server);
        io_slice room{other.data(), other.size()};
        ask_for(second, room);
        EXPECT_TRUE(submit(second));
        EXPECT_EQ(second.result, result_busy);
    }
    send_all(pair.client, "one");
    finish(first);
    EXPECT_EQ(first.result, 3);
    EXPECT_EQ(receive_after(pair, "two"), "two") << "the direction is free again";
}

TEST_P(poller_test, second_send_is_busy_and_disturbs_nobody) {
    const connected_pair pair = narrow_pair();
    std::vector<std::byte> buffer;
    operation first(opcode::send, pair.client);
    std::size_t sent = fill(first, buffer);
    char letter = 'x';
    operation second(opcode::send, pair.client);
    second.buffer.data = &letter;
    second.buffer.size = 1;
    ASSERT_TRUE(submit(second));
    EXPECT_EQ(second.result, result_busy);
    std::int32_t end = 0;
    std::size_t got = drain_pattern(pair.server, 1, end);
    while (first.phase == operation_phase::submitted) {
        collect_now();
        got = drain_more(pair.server, got);
    }
    ASSERT_GT(first.result, 0);
    sent += static_cast<std::size_t>(first.result);
    while (got < sent) got = drain_more(pair.server, got);
    EXPECT_EQ(got, sent);
}

TEST_P(poller_test, second_accept_is_busy) {
    const listener_socket listener = listen();
    operation first(opcode::accept, listener.handle);
    ASSERT_FALSE(submit(first));
    operation second(opcode::accept, listener.handle);
    EXPECT_TRUE(submit(second));
    EXPECT_EQ(second.result, result_busy);
    EXPECT_EQ(connect(open(), listener.address), 0);
    finish(first);
    EXPECT_EQ(first.result, 0);
    keep(first.accepted);
}

TEST_P(poller_test, one_receive_and_one_send_at_once) {
    const connected_pair pair = narrow_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.client);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    std::vector<std::byte> buffer;
    operation sending(opcode::send, pair.client);
    fill(sending, buffer);
    ASSERT_EQ(receiving.phase, operation_phase::submitted);
    send_all(pair.server, "!");
    finish(receiving);
    EXPECT_EQ(into, '!');
    world().cancel(sending);
    finish(sending);
}

// --- bounded queues of the kernel

TEST_P(poller_test, smallest_rings_lose_nothing) {
    poller_options small;
    small.ring_entries = 4;
    small.completion_entries = 8;
    restart(small);
    const listener_socket listener = listen();
    std::vector<connected_pair> pairs;
    for (int i = 0; i < 60; ++i) pairs.push_back(connect_pair(listener));
    std::deque<operation> operations;
    std::string in(pairs.size(), '\0');
    std::string out(pairs.size(), 'o');
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        operation& receiving = operations.emplace_back(opcode::receive, pairs[i].server);
        receiving.buffer.data = &in[i];
        receiving.buffer.size = 1;
        submit(receiving);
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        operation& sending = operations.emplace_back(opcode::send, pairs[i].client);
        sending.buffer.data = &out[i];
        sending.buffer.size = 1;
        submit(sending);
    }
    for (operation& op : operations) {
        finish(op);
        EXPECT_EQ(op.result, 1);
    }
    EXPECT_EQ(in, out);
}

// --- rule 10: a poller ends with nothing pending

using poller_death_test = poller_test;
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_death_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

/// Runs in the child of the death test: a world of its own, because a ring belongs to the process
/// that made it.
void destroy_while_pending(poller_choice choice) {
    made_alone made = make_alone(choice, insists(choice), {});
    detail::handle listener;
    made.instance->open_stream(address_family::ipv4, listener);
    made.instance->bind(listener, loopback(address_family::ipv4));
    made.instance->listen(listener, 1);
    operation accepting(opcode::accept, listener);
    if (made.instance->submit(accepting)) return;
    made.instance.reset();
}

TEST_P(poller_death_test, destroying_a_poller_with_a_pending_operation_aborts) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(destroy_while_pending(GetParam()), "pending");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
