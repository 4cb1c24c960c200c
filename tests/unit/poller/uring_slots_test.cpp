// What io_uring keeps: the slot of a connection that is still to come, and the pool of lease
// buffers, at its limits; and the debug registry of buffers that the kernel may still write.
#include "unit/poller/uring_poller_fixture.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <deque>

#include "conformance/kernel_queues.hpp"
#include "poller/inflight_registry.hpp"

namespace coro::detail::uring_tests {
namespace {

class uring_slots : public uring_fixture {
protected:
    /// Connections in the kernel's queue.
    std::size_t waiting_at(const listening_end& listener) {
        return conformance::queue_length(ntohs(listener.where.sin_port), 0);
    }
    /// The handle of a socket that is closed again.
    detail::handle local_pair_closed() {
        const pair_of_ends ends = local_pair();
        poller_->close(ends.ours);
        ours_.pop_back();
        ::close(ends.theirs);
        theirs_.pop_back();
        return ends.ours;
    }
    void make_with(unsigned buffers, unsigned on_heap, std::uint32_t without = 0) {
        finish();
        poller_options options;
        options.lease_buffers = options.lease_buffers_most = buffers;
        options.lease_buffer_bytes = 64;
        options.leases_on_heap = on_heap;
        options.disabled_features = without;
        make(options);
    }
};

// --- accept

TEST_F(uring_slots, an_accept_takes_one_connection_out_of_the_queue) {
    const listening_end listener = listen(512);
    operation waiting(opcode::accept, listener.ours);
    ASSERT_FALSE(poller_->submit(waiting));
    turn_now();  // the kernel has the request before anybody comes
    constexpr std::uint64_t count = 200;
    for (std::uint64_t i = 0; i < count; ++i) client_of(listener);
    complete(waiting);
    ASSERT_EQ(waiting.result, 0);
    ours_.push_back(waiting.accepted);
    for (int turn = 0; turn < 8; ++turn) turn_now();
    EXPECT_EQ(waiting_at(listener), count - 1);
    for (std::uint64_t i = 1; i < count; ++i) {
        ASSERT_EQ(accept(listener), 0) << i;
        EXPECT_EQ(waiting_at(listener), count - 1 - i);
    }
    EXPECT_EQ(poller_->census().sockets, 1 + count);
}

/// Without a turn of the loop for each: on a busy loop a turn takes milliseconds.
TEST_F(uring_slots, who_waits_is_accepted_at_once_in_order) {
    const listening_end listener = listen();
    std::vector<int> clients;
    for (int i = 0; i < 3; ++i) {
        clients.push_back(client_of(listener));
        write(clients.back(), "number " + std::to_string(i));
    }
    const std::uint64_t before = counters().enters;
    std::array<detail::handle, 3> accepted;
    for (detail::handle& each : accepted) {
        operation accepting(opcode::accept, listener.ours);
        ASSERT_TRUE(poller_->submit(accepting));
        ASSERT_EQ(accepting.result, 0);
        ours_.push_back(accepting.accepted);
        each = accepting.accepted;
    }
    EXPECT_EQ(counters().enters, before);
    for (std::size_t i = 0; i < accepted.size(); ++i) {
        EXPECT_EQ(receive(accepted[i]), "number " + std::to_string(i));
        socket_address peer;
        EXPECT_EQ(poller_->remote_address(accepted[i], peer), 0);
    }
}

/// The place of a connection that did not come is used by the next: else each takes a new one.
TEST_F(uring_slots, accepts_that_end_without_a_connection_give_their_slots_back) {
    const listening_end listener = listen();
    std::uint32_t highest = 0;
    for (int i = 0; i < 1000; ++i) {
        operation accepting(opcode::accept, listener.ours);
        ASSERT_FALSE(poller_->submit(accepting));
        if (i % 2 == 0) turn_now();
        poller_->cancel(accepting);
        complete(accepting);
        ASSERT_EQ(accepting.result, -ECANCELED);
        highest = std::max(highest, local_pair_closed().index);
    }
    EXPECT_LE(highest, 2u);
}

TEST_F(uring_slots, cancelled_accept_loses_no_connection) {
    const listening_end listener = listen();
    int accepted = 0;
    constexpr int count = 50;
    for (int i = 0; i < count; ++i) {
        operation accepting(opcode::accept, listener.ours);
        const bool at_once = poller_->submit(accepting);
        if (!at_once && i % 2 == 0) turn_now();
        client_of(listener);
        if (!at_once) {
            poller_->cancel(accepting);
            complete(accepting);
        }
        if (accepting.result != 0) continue;
        ++accepted;
        ours_.push_back(accepting.accepted);
    }
    for (; accepted < count; ++accepted) ASSERT_EQ(accept(listener), 0);
}

TEST_F(uring_slots, running_out_of_descriptors_does_not_end_the_listener) {
    const listening_end listener = listen();
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    theirs_.push_back(client);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    // Before the accept is submitted: the kernel notes the limit then.
    const rlimit low{static_cast<rlim_t>(client) + 1, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    std::vector<int> fillers;
    for (int filler = 0; (filler = ::dup(client)) >= 0;) fillers.push_back(filler);
    ASSERT_EQ(::connect(client, reinterpret_cast<const sockaddr*>(&listener.where),
                        sizeof listener.where), 0);
    EXPECT_EQ(accept(listener), -EMFILE);
    EXPECT_EQ(accept(listener), -EMFILE) << "the next one finds out anew";
    for (const int filler : fillers) ::close(filler);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    EXPECT_EQ(accept(listener), 0) << "the connection was still in the queue";
}

TEST_F(uring_slots, released_listener_is_no_longer_accepted_from) {
    const listening_end listener = listen();
    client_of(listener);
    ASSERT_EQ(accept(listener), 0);
    int descriptor = -1;
    ASSERT_EQ(poller_->release(listener.ours, descriptor), 0);
    client_of(listener);
    turn_now();
    EXPECT_EQ(poller_->census().sockets, 1u);
    const int accepted = ::accept(descriptor, nullptr, nullptr);
    EXPECT_GE(accepted, 0);
    ::close(accepted);
    ::close(descriptor);
}

// --- leases

TEST_F(uring_slots, idle_leased_receives_hold_no_buffer) {
    for (const std::uint32_t without : {0u, std::uint32_t{uring_buffer_ring}}) {
        make_with(2, 0, without);
        std::vector<pair_of_ends> ends;
        std::deque<operation> receiving;
        for (int i = 0; i < 30; ++i) {
            ends.push_back(local_pair());
            ASSERT_FALSE(poller_->submit(
                receiving.emplace_back(opcode::receive_leased, ends.back().ours)));
        }
        turn_now();
        EXPECT_EQ(poller_->census().leases, 0u);
        for (std::size_t i = 0; i < ends.size(); ++i) {
            write(ends[i].theirs, "some bytes");
            complete(receiving[i]);
            ASSERT_EQ(text_of(receiving[i]), "some bytes");
            EXPECT_FALSE(receiving[i].lease_from_heap);
            give_back(receiving[i]);
        }
    }
}

TEST_F(uring_slots, empty_pool_takes_from_the_heap_up_to_the_cap) {
    for (const std::uint32_t without : {0u, std::uint32_t{uring_buffer_ring}}) {
        make_with(2, 1, without);
        std::vector<pair_of_ends> ends;
        std::deque<operation> receiving;
        for (int i = 0; i < 5; ++i) {
            ends.push_back(local_pair());
            write(ends.back().theirs, "bytes");
            operation& op = receiving.emplace_back(opcode::receive_leased, ends.back().ours);
            EXPECT_EQ(run(op), i < 3 ? 5 : std::int32_t{result_limit}) << i;
            EXPECT_EQ(op.lease_from_heap, i == 2);
        }
        EXPECT_EQ(poller_->census().leases, 3u);
        if (without == 0) {
            EXPECT_GT(counters().no_buffers, 0u);
        }
        for (std::size_t i = 0; i < 3; ++i) give_back(receiving[i]);
        operation again(opcode::receive_leased, ends[4].ours);
        EXPECT_EQ(run(again), 5) << "nothing was lost";
        EXPECT_FALSE(again.lease_from_heap);
        give_back(again);
    }
}

TEST_F(uring_slots, pool_that_is_found_empty_doubles_up_to_its_limit) {
    for (const std::uint32_t without : {std::uint32_t{0}, std::uint32_t{uring_buffer_ring}}) {
        finish();
        poller_options options;
        options.lease_buffers = 1;
        options.lease_buffers_most = 6;
        options.lease_buffer_bytes = 64;
        options.disabled_features = without;
        make(options);
        std::array<pair_of_ends, 8> ends;
        std::deque<operation> held;
        for (std::size_t i = 0; i < ends.size(); ++i) {
            ends[i] = local_pair();
            write(ends[i].theirs, std::string(i + 1, 'x'));
            operation& op = held.emplace_back(opcode::receive_leased, ends[i].ours);
            ASSERT_EQ(run(op), static_cast<std::int32_t>(i + 1));
            EXPECT_EQ(op.lease_from_heap, i >= 6) << i;
        }
        for (std::size_t i = 0; i < held.size(); ++i) {
            const std::string_view text(static_cast<const char*>(held[i].lease_data), i + 1);
            EXPECT_EQ(text, std::string(i + 1, 'x')) << i << ": a buffer was lent twice";
        }
        EXPECT_EQ(poller_->census().leases, ends.size());
        for (operation& op : held) give_back(op);
        EXPECT_EQ(poller_->census().leases, 0u);
    }
}

TEST_F(uring_slots, waiting_with_an_empty_pool_makes_no_loop_and_holds_no_buffer) {
    make_with(1, 1);
    const pair_of_ends holder = local_pair();
    write(holder.theirs, "held");
    operation held(opcode::receive_leased, holder.ours);
    ASSERT_EQ(run(held), 4);
    const pair_of_ends waiter = local_pair();
    operation waiting(opcode::receive_leased, waiter.ours);
    ASSERT_FALSE(poller_->submit(waiting));
    while (counters().no_buffers == 0) turn_now();
    std::uint64_t before = 0;
    do {
        before = counters().enters;
        turn_now();
    } while (counters().enters != before);
    for (int i = 0; i < 10; ++i) turn_now();
    EXPECT_EQ(counters().enters, before);
    EXPECT_EQ(poller_->census().leases, 1u);
    give_back(held);
    write(waiter.theirs, "late");
    complete(waiting);
    EXPECT_EQ(text_of(waiting), "late");
    EXPECT_FALSE(waiting.lease_from_heap) << "the buffer is back in the pool";
    give_back(waiting);
}

/// The kernel refuses the receive for want of a buffer, and its cancel finds nothing more: whoever
/// asked for the buffer again would wait for ever.
TEST_F(uring_slots, a_leased_receive_that_is_refused_while_it_is_cancelled_ends) {
    make_with(1, 0);
    const pair_of_ends holder = local_pair();
    write(holder.theirs, "held");
    operation held(opcode::receive_leased, holder.ours);
    ASSERT_EQ(run(held), 4);
    const pair_of_ends waiter = local_pair();
    for (const bool data : {false, true}) {
        if (data) write(waiter.theirs, "late");
        operation waiting(opcode::receive_leased, waiter.ours);
        const std::uint64_t refused = counters().no_buffers;
        ASSERT_FALSE(poller_->submit(waiting));
        poller_->cancel(waiting);
        for (int i = 0; i < 100 && waiting.phase != operation_phase::completed; ++i) turn_now();
        EXPECT_EQ(waiting.phase, operation_phase::completed) << "it still waits for a buffer";
        EXPECT_EQ(counters().no_buffers, refused + 1) << "that is not what happened";
        if (waiting.phase == operation_phase::completed) EXPECT_EQ(waiting.result, -ECANCELED);
        else complete(waiting);
    }
    give_back(held);
    operation again(opcode::receive_leased, waiter.ours);
    EXPECT_EQ(run(again), 4) << "nothing was lost";
    give_back(again);
}

TEST_F(uring_slots, end_of_stream_needs_no_buffer) {
    make_with(1, 0);
    const pair_of_ends holder = local_pair();
    write(holder.theirs, "held");
    operation held(opcode::receive_leased, holder.ours);
    ASSERT_EQ(run(held), 4);
    const pair_of_ends ended = local_pair();
    ASSERT_EQ(::shutdown(ended.theirs, SHUT_WR), 0);
    operation leased(opcode::receive_leased, ended.ours);
    EXPECT_EQ(run(leased), 0);
    give_back(held);
}

TEST_F(uring_slots, cancelled_leased_receives_give_their_buffers_back) {
    for (const std::uint32_t without : {0u, std::uint32_t{uring_buffer_ring}}) {
        make_with(2, 0, without);
        const pair_of_ends ends = local_pair();
        std::size_t sent = 0;
        std::size_t got = 0;
        for (int round = 0; round < 100; ++round) {
            operation leased(opcode::receive_leased, ends.ours);
            ASSERT_FALSE(poller_->submit(leased));
            if (round % 2 == 0) turn_now();
            if (round % 3 == 0) {
                write(ends.theirs, "1");
                ++sent;
            }
            poller_->cancel(leased);
            complete(leased);
            if (leased.result <= 0) {
                ASSERT_EQ(leased.result, -ECANCELED);
                continue;
            }
            got += static_cast<std::size_t>(leased.result);
            give_back(leased);
        }
        EXPECT_EQ(poller_->census().leases, 0u);
        while (got < sent) {
            operation leased(opcode::receive_leased, ends.ours);
            ASSERT_GT(run(leased), 0);
            got += static_cast<std::size_t>(leased.result);
            give_back(leased);
        }
        EXPECT_EQ(got, sent);
    }
}

TEST_F(uring_slots, returning_a_lease_twice_aborts) {
    const pair_of_ends ends = local_pair();
    write(ends.theirs, "x");
    operation leased(opcode::receive_leased, ends.ours);
    ASSERT_EQ(run(leased), 1);
    give_back(leased);
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    EXPECT_DEATH(
        {
            give_back(leased);
            give_back(leased);
        },
        "returned twice|after fork");
}

// --- the registry

class registry_test : public uring_fixture {};

TEST_F(registry_test, pending_receives_are_recorded_until_they_complete) {
    const pair_of_ends ends = local_pair();
    std::array<char, 16> into{};
    operation receiving(opcode::receive, ends.ours);
    receiving.buffer.data = into.data();
    receiving.buffer.size = 8;
    ASSERT_FALSE(poller_->submit(receiving));
    EXPECT_FALSE(inflight_registry::check_free(into.data(), into.size()));
    EXPECT_FALSE(inflight_registry::check_free(into.data() + 7, 1));
    EXPECT_TRUE(inflight_registry::check_free(into.data() + 8, 8));
    write(ends.theirs, "12345678");
    complete(receiving);
    inflight_registry::assert_none_in(into.data(), into.size());

    std::array<io_slice, 2> slices{io_slice{into.data(), 2}, io_slice{into.data() + 4, 2}};
    operation vectored(opcode::receive_vectored, ends.ours);
    vectored.slices.first = slices.data();
    vectored.slices.count = slices.size();
    ASSERT_FALSE(poller_->submit(vectored));
    EXPECT_EQ(inflight_registry::count(), 2u);
    EXPECT_TRUE(inflight_registry::check_free(into.data() + 2, 2));
    EXPECT_FALSE(inflight_registry::check_free(into.data() + 5, 1));
    poller_->cancel(vectored);
    complete(vectored);
    EXPECT_EQ(inflight_registry::count(), 0u);
}

TEST_F(registry_test, giving_memory_back_under_a_pending_receive_aborts) {
    const pair_of_ends ends = local_pair();
    std::array<char, 16> into{};
    operation receiving(opcode::receive, ends.ours);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    ASSERT_FALSE(poller_->submit(receiving));
    testing::FLAGS_gtest_death_test_style = "fast";
    EXPECT_DEATH(inflight_registry::assert_none_in(into.data() + 15, 100), "pending receive");
    poller_->cancel(receiving);
    complete(receiving);
}

}  // namespace
}  // namespace coro::detail::uring_tests
