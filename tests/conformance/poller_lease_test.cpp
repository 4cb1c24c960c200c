// Rule 9 of the waist: a receive that lends a buffer, and lends none while nothing has come.
#include <deque>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_lease_test : public poller_fixture {
protected:
    void SetUp() override {
        poller_fixture::SetUp();
        restart(small_pool());
    }

    static poller_options small_pool() {
        poller_options options;
        options.lease_buffers = options.lease_buffers_most = 2;
        options.leases_on_heap = 2;
        options.lease_buffer_bytes = 4096;
        return options;
    }

    void give_back(operation& op) {
        world().return_lease(op.lease_id, op.lease_data, op.lease_from_heap);
    }

    static std::string_view text(const operation& op) {
        return {static_cast<const char*>(op.lease_data), static_cast<std::size_t>(op.result)};
    }

    /// A second lease lives elsewhere and leaves the first as it is.
    void expect_more_leases_differ(const connected_pair& pair, const operation& first) {
        const std::string before(text(first));
        send_all(pair.client, "another");
        operation second(opcode::receive_leased, pair.server);
        second.most = 4096;
        ASSERT_EQ(run(second), 7);
        EXPECT_NE(second.lease_data, first.lease_data);
        EXPECT_EQ(text(first), before);
        give_back(second);
    }

    /// Receives one lease, checks it and returns it.
    void expect_leased(detail::handle from, std::string_view expected) {
        operation op(opcode::receive_leased, from);
        op.most = 4096;
        ASSERT_EQ(run(op), static_cast<std::int32_t>(expected.size()));
        EXPECT_EQ(text(op), expected);
        EXPECT_EQ(world().census().leases, 1u);
        give_back(op);
        EXPECT_EQ(world().census().leases, 0u);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_lease_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_lease_test, lease_holds_the_bytes_until_returned) {
    const connected_pair pair = connect_pair();
    operation op(opcode::receive_leased, pair.server);
    op.most = 4096;
    ASSERT_FALSE(submit(op));
    send_all(pair.client, "leased");
    finish(op);
    ASSERT_EQ(op.result, 6);
    EXPECT_EQ(world().census().leases, 1u);
    expect_more_leases_differ(pair, op);
    world().close(pair.server);
    world().close(pair.client);
    settle(1ms);
    EXPECT_EQ(text(op), "leased") << "a lease outlives its connection";
    give_back(op);
}

TEST_P(poller_lease_test, idle_receives_hold_no_buffer) {
    const listener_socket listener = listen();
    std::deque<operation> operations;
    std::vector<connected_pair> pairs;
    for (int i = 0; i < 10; ++i) {
        pairs.push_back(connect_pair(listener));
        operation& op = operations.emplace_back(opcode::receive_leased, pairs.back().server);
        op.most = 4096;
        ASSERT_FALSE(submit(op));
    }
    settle();
    EXPECT_EQ(world().census().leases, 0u);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        send_all(pairs[i].client, "hi");
        finish(operations[i]);
        ASSERT_EQ(operations[i].result, 2);
        EXPECT_EQ(text(operations[i]), "hi");
        give_back(operations[i]);
    }
}

TEST_P(poller_lease_test, size_is_the_most_that_comes) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "0123456789");
    settle(1ms);
    operation op(opcode::receive_leased, pair.server);
    op.most = 4;
    ASSERT_EQ(run(op), 4);
    EXPECT_EQ(text(op), "0123");
    give_back(op);
    EXPECT_EQ(receive_exactly(pair.server, 6), "456789");
}

TEST_P(poller_lease_test, end_and_errors_lend_nothing) {
    const connected_pair pair = connect_pair();
    EXPECT_EQ(world().set_option(pair.server, socket_option::linger, 0), 0);
    world().close(pair.server);
    operation resets(opcode::receive_leased, pair.client);
    resets.most = 4096;
    EXPECT_EQ(run(resets), -ECONNRESET);
    operation ends(opcode::receive_leased, pair.client);
    ends.most = 4096;
    EXPECT_EQ(run(ends), 0);
    EXPECT_EQ(world().census().leases, 0u);
}

TEST_P(poller_lease_test, exhausted_pool_goes_to_the_heap_and_then_to_the_limit) {
    const listener_socket listener = listen();
    std::vector<connected_pair> pairs;
    std::deque<operation> operations;
    for (int i = 0; i < 8; ++i) {
        pairs.push_back(connect_pair(listener));
        send_all(pairs.back().client, "waiting");
    }
    settle(1ms);
    std::size_t lent = 0;
    std::size_t from_heap = 0;
    for (const connected_pair& pair : pairs) {
        operation& op = operations.emplace_back(opcode::receive_leased, pair.server);
        op.most = 4096;
        const std::int32_t result = run(op);
        if (result == result_limit) continue;
        ASSERT_EQ(result, 7);
        ++lent;
        from_heap += op.lease_from_heap ? 1 : 0;
    }
    EXPECT_EQ(from_heap, 2u) << "options.leases_on_heap";
    EXPECT_GE(lent, 2u);
    EXPECT_LE(lent, 4u) << "options.lease_buffers and leases_on_heap together";
    EXPECT_EQ(world().census().leases, lent);

    const connected_pair other = connect_pair(listener);
    EXPECT_EQ(receive_after(other, "not blocked"), "not blocked");

    for (operation& op : operations) {
        if (op.result > 0) give_back(op);
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        if (operations[i].result == result_limit) expect_leased(pairs[i].server, "waiting");
    }
}

TEST_P(poller_lease_test, limit_comes_to_receives_that_were_pending) {
    const listener_socket listener = listen();
    std::vector<connected_pair> pairs;
    std::deque<operation> operations;
    for (int i = 0; i < 8; ++i) {
        pairs.push_back(connect_pair(listener));
        operation& op = operations.emplace_back(opcode::receive_leased, pairs.back().server);
        op.most = 4096;
        ASSERT_FALSE(submit(op));
    }
    settle(1ms);
    for (const connected_pair& pair : pairs) send_all(pair.client, "burst");
    std::size_t lent = 0;
    for (operation& op : operations) {
        finish(op);
        if (op.result > 0) ++lent;
        else EXPECT_EQ(op.result, result_limit);
    }
    EXPECT_GE(lent, 2u);
    EXPECT_LE(lent, 4u);
    for (operation& op : operations) {
        if (op.result > 0) give_back(op);
    }
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        if (operations[i].result == result_limit) expect_leased(pairs[i].server, "burst");
    }
}

TEST_P(poller_lease_test, returned_leases_are_reused) {
    const connected_pair pair = connect_pair();
    for (int i = 0; i < 500; ++i) {
        send_all(pair.client, "round");
        expect_leased(pair.server, "round");
    }
}

TEST_P(poller_lease_test, buffers_may_come_back_in_any_order) {
    const listener_socket listener = listen();
    const connected_pair first = connect_pair(listener);
    const connected_pair second = connect_pair(listener);
    for (int i = 0; i < 100; ++i) {
        operation left(opcode::receive_leased, first.server);
        operation right(opcode::receive_leased, second.server);
        left.most = right.most = 4096;
        send_all(first.client, "left");
        send_all(second.client, "right");
        ASSERT_EQ(run(left), 4);
        ASSERT_EQ(run(right), 5);
        EXPECT_NE(left.lease_data, right.lease_data);
        EXPECT_EQ(text(left), "left");
        EXPECT_EQ(text(right), "right");
        give_back(i % 2 == 0 ? left : right);
        give_back(i % 2 == 0 ? right : left);
    }
}

TEST_P(poller_lease_test, cancelled_receives_leak_no_buffer) {
    const connected_pair pair = connect_pair();
    std::size_t sent = 0;
    std::size_t received = 0;
    for (std::size_t i = 0; i < 500; ++i) {
        operation op(opcode::receive_leased, pair.server);
        op.most = 4096;
        submit(op);
        if (i % 3 == 0) {
            send_all(pair.client, "x");
            ++sent;
        }
        if (i % 2 == 0) collect_now();
        world().cancel(op);
        finish(op);
        if (op.result == -ECANCELED) continue;
        ASSERT_GT(op.result, 0);
        received += static_cast<std::size_t>(op.result);
        give_back(op);
    }
    EXPECT_EQ(world().census().leases, 0u);
    EXPECT_EQ(receive_exactly(pair.server, sent - received), std::string(sent - received, 'x'));
    send_all(pair.client, "still there");
    expect_leased(pair.server, "still there");
}

TEST_P(poller_lease_test, close_of_a_pending_leased_receive_leaks_no_buffer) {
    const listener_socket listener = listen();
    for (int i = 0; i < 50; ++i) {
        const connected_pair pair = connect_pair(listener);
        operation op(opcode::receive_leased, pair.server);
        op.most = 4096;
        ASSERT_FALSE(submit(op));
        if (i % 2 == 0) send_all(pair.client, "y");
        world().close(pair.server);
        finish(op);
        if (op.result > 0) give_back(op);
        else EXPECT_EQ(op.result, result_closed);
        world().close(pair.client);
    }
    EXPECT_EQ(world().census().leases, 0u);
}

TEST_P(poller_lease_test, long_stream_arrives_through_leases) {
    const connected_pair pair = connect_pair();
    std::size_t received = 0;
    std::size_t sent = 0;
    while (sent < (1u << 18)) {
        std::vector<std::byte> out = pattern_bytes(sent, 10000);
        operation sending(opcode::send, pair.client);
        sending.buffer.data = out.data();
        sending.buffer.size = out.size();
        ASSERT_GT(run(sending), 0);
        sent += static_cast<std::size_t>(sending.result);
        while (received < sent) {
            operation op(opcode::receive_leased, pair.server);
            op.most = 1 << 16;
            ASSERT_GT(run(op), 0);
            const auto part = static_cast<std::size_t>(op.result);
            ASSERT_LE(part, 4096u) << "no more than a buffer holds";
            ASSERT_EQ(first_difference(static_cast<std::byte*>(op.lease_data), part, received),
                      part);
            received += part;
            give_back(op);
        }
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
