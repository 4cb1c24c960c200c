// What is special to epoll: its counts of system calls, its wake-up and its pool of buffers. What
// all pollers have in common is in tests/conformance.
#include "unit/poller/epoll_poller_fixture.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <deque>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace coro::detail::epoll_tests {
namespace {

TEST_F(epoll_special, an_echo_costs_one_receive_one_send_and_no_control) {
    const pair_of_ends ends = tcp_pair();
    operation first(opcode::receive, ends.ours);
    first.buffer.data = buffer_.data();
    first.buffer.size = buffer_.size();
    ASSERT_FALSE(poller_->submit(first));  // the one EAGAIN, which registers
    ASSERT_EQ(::send(ends.theirs, "x", 1, 0), 1);
    complete(first);
    ASSERT_EQ(send(ends.ours, 1), 1);

    const poller_counters before = poller_->counters;
    constexpr unsigned messages = 100;
    std::array<char, 64> reply{};
    for (unsigned i = 0; i < messages; ++i) {
        operation next(opcode::receive, ends.ours);
        next.buffer.data = buffer_.data();
        next.buffer.size = buffer_.size();
        ASSERT_FALSE(poller_->submit(next));
        ASSERT_EQ(::send(ends.theirs, reply.data(), reply.size(), 0), 64);
        complete(next);
        ASSERT_EQ(next.result, 64);
        ASSERT_EQ(send(ends.ours, 64), 64);
        ASSERT_EQ(::recv(ends.theirs, reply.data(), reply.size(), MSG_WAITALL), 64);
    }
    EXPECT_EQ(poller_->counters.receives - before.receives, messages);
    EXPECT_EQ(poller_->counters.sends - before.sends, messages);
    EXPECT_EQ(poller_->counters.controls, before.controls);
    EXPECT_EQ(poller_->counters.would_block, before.would_block);
    EXPECT_EQ(poller_->counters.waits - before.waits, messages);
    poller_->close(ends.ours);
}

TEST_F(epoll_special, a_connection_that_never_waits_is_never_registered) {
    const pair_of_ends ends = tcp_pair();
    ASSERT_EQ(::send(ends.theirs, "question", 8, 0), 8);
    ASSERT_EQ(receive(ends.ours), 8);
    ASSERT_EQ(send(ends.ours, 6), 6);
    poller_->close(ends.ours);
    EXPECT_EQ(poller_->counters.controls, 0u);
    EXPECT_EQ(poller_->counters.waits, 0u);
}

TEST_F(epoll_special, a_connection_that_waits_in_both_directions_is_registered_once) {
    const pair_of_ends ends = tcp_pair();
    operation reading(opcode::receive, ends.ours);
    reading.buffer.data = buffer_.data();
    reading.buffer.size = 64;
    ASSERT_FALSE(poller_->submit(reading));
    std::vector<char> much(1 << 20);
    operation writing(opcode::send, ends.ours);
    writing.buffer.data = much.data();
    writing.buffer.size = much.size();
    // The first transfer is short: the next one waits, and asks the kernel nothing.
    ASSERT_TRUE(poller_->submit(writing));
    while (writing.result == static_cast<std::int32_t>(most_bytes_at_once)) {
        ASSERT_TRUE(poller_->submit(writing));
    }
    const std::uint64_t sends = poller_->counters.sends;
    ASSERT_FALSE(poller_->submit(writing));
    EXPECT_EQ(poller_->counters.sends, sends);
    EXPECT_EQ(poller_->counters.controls, 1u);
    poller_->close(ends.ours);
    complete(reading);
    complete(writing);
    EXPECT_EQ(reading.result, result_closed);
    EXPECT_EQ(writing.result, result_closed);
}

TEST_F(epoll_special, a_readiness_that_is_known_to_be_gone_is_not_tried_again) {
    const pair_of_ends ends = local_pair();
    ASSERT_EQ(::send(ends.theirs, "abc", 3, 0), 3);
    ASSERT_EQ(receive(ends.ours), 3);
    ASSERT_EQ(poller_->counters.receives, 1u);
    operation next(opcode::receive, ends.ours);
    next.buffer.data = buffer_.data();
    next.buffer.size = 64;
    ASSERT_FALSE(poller_->submit(next));
    EXPECT_EQ(poller_->counters.receives, 1u);
    EXPECT_EQ(poller_->counters.would_block, 0u);
    poller_->cancel(next);
    complete(next);
    EXPECT_EQ(next.result, -ECANCELED);
}

TEST_F(epoll_special, a_whole_receive_leaves_more_to_be_read_without_another_edge) {
    const pair_of_ends ends = local_pair();
    operation first(opcode::receive, ends.ours);
    first.buffer.data = buffer_.data();
    first.buffer.size = 4;
    ASSERT_FALSE(poller_->submit(first));
    ASSERT_EQ(::send(ends.theirs, "abcdefgh", 8, 0), 8);
    complete(first);
    ASSERT_EQ(first.result, 4);
    const std::uint64_t waits = poller_->counters.waits;
    EXPECT_EQ(receive(ends.ours, 4), 4);
    EXPECT_EQ(poller_->counters.waits, waits);
}

TEST_F(epoll_special, a_released_descriptor_is_forgotten_and_can_be_adopted_again) {
    const pair_of_ends ends = local_pair();
    operation op(opcode::receive, ends.ours);
    op.buffer.data = buffer_.data();
    op.buffer.size = 8;
    ASSERT_FALSE(poller_->submit(op));
    int descriptor = -1;
    EXPECT_EQ(poller_->release(ends.ours, descriptor), -EBUSY);
    poller_->cancel(op);
    complete(op);
    ASSERT_EQ(poller_->release(ends.ours, descriptor), 0);
    ASSERT_EQ(::send(ends.theirs, "ab", 2, 0), 2);
    EXPECT_EQ(receive(ends.ours), result_closed);

    detail::handle again;
    ASSERT_EQ(poller_->adopt(descriptor, again), 0);
    EXPECT_EQ(receive(again), 2);
    EXPECT_EQ(poller_->counters.controls, 2u);  // added, deleted
    operation next(opcode::receive, again);
    next.buffer.data = buffer_.data();
    next.buffer.size = 8;
    ASSERT_FALSE(poller_->submit(next));
    EXPECT_EQ(poller_->counters.controls, 3u);  // added; a registration left over would need two
    poller_->close(again);
    complete(next);
}

TEST_F(epoll_special, a_full_backlog_of_a_local_listener_makes_the_connect_wait) {
    socket_address where;
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string text = "coro" + std::to_string(::getpid());  // abstract: starts with a 0
    std::memcpy(name.sun_path + 1, text.data(), text.size());
    where.size = static_cast<std::uint32_t>(offsetof(sockaddr_un, sun_path) + 1 + text.size());
    std::memcpy(where.bytes.data(), &name, where.size);
    detail::handle listener;
    ASSERT_EQ(poller_->open_stream(address_family::local, listener), 0);
    ASSERT_EQ(poller_->bind(listener, where), 0);
    ASSERT_EQ(poller_->listen(listener, 0), 0);

    std::array<detail::handle, 3> clients;
    for (detail::handle& client : clients) {
        ASSERT_EQ(poller_->open_stream(address_family::local, client), 0);
    }
    operation first(opcode::connect, clients[0]);
    operation second(opcode::connect, clients[1]);
    operation third(opcode::connect, clients[2]);
    first.where = second.where = third.where = &where;
    EXPECT_EQ(run(first), 0);
    ASSERT_FALSE(poller_->submit(second));
    operation reading(opcode::receive, clients[1]);
    reading.buffer.data = buffer_.data();
    reading.buffer.size = 8;
    EXPECT_FALSE(poller_->submit(reading));
    ASSERT_FALSE(poller_->submit(third));
    poller_->cancel(third);
    complete(third);
    EXPECT_EQ(third.result, -ECANCELED);
    ASSERT_EQ(second.phase, operation_phase::submitted);

    operation accepting(opcode::accept, listener);
    EXPECT_EQ(run(accepting), 0);
    complete(second);
    EXPECT_EQ(second.result, 0);
    EXPECT_EQ(reading.phase, operation_phase::submitted);
    operation again(opcode::accept, listener);
    EXPECT_EQ(run(again), 0);
    operation sending(opcode::send, again.accepted);
    sending.buffer.data = buffer_.data();
    sending.buffer.size = 5;
    EXPECT_EQ(run(sending), 5);
    complete(reading);
    EXPECT_EQ(reading.result, 5);
    poller_->close(listener);
}

TEST_F(epoll_special, a_wake_from_another_thread_ends_a_wait) {
    for (int i = 0; i < 20; ++i) {
        std::thread other([this] { poller_->wake(); });
        operation_list completed;
        poller_->wait(never, completed);
        EXPECT_TRUE(completed.empty());
        other.join();
    }
    EXPECT_EQ(poller_->counters.wakes, 20u);
}

/// All eventfd(2) descriptors of this process, among them those that it was started with.
std::vector<int> eventfds() {
    std::vector<int> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code ignored;
        const auto target = std::filesystem::read_symlink(entry.path(), ignored);
        if (target.string().find("eventfd") == std::string::npos) continue;
        found.push_back(std::stoi(entry.path().filename()));
    }
    return found;
}

TEST_F(epoll_special, a_wake_counter_that_is_full_still_wakes) {
    poller_.reset();
    const std::vector<int> foreign = eventfds();
    make({});
    for (const int number : eventfds()) {
        if (std::find(foreign.begin(), foreign.end(), number) != foreign.end()) continue;
        const std::uint64_t most = 0xffff'ffff'ffff'fffe;
        ASSERT_EQ(::write(number, &most, sizeof most), static_cast<ssize_t>(sizeof most));
    }
    operation_list completed;
    poller_->wait(never, completed);
    errno = ERANGE;
    poller_->wake();
    EXPECT_EQ(errno, ERANGE);
    poller_->wait(never, completed);
    poller_->wake();
    poller_->wait(never, completed);
}

TEST_F(epoll_special, a_pool_that_is_found_empty_doubles_up_to_its_limit) {
    poller_options options;
    options.lease_buffers = 1;
    options.lease_buffers_most = 6;
    options.lease_buffer_bytes = 64;
    make(options);
    std::array<pair_of_ends, 8> ends;
    std::deque<operation> held;
    for (std::size_t i = 0; i < ends.size(); ++i) {
        ends[i] = local_pair();
        const std::string text(i + 1, 'x');
        ASSERT_EQ(::send(ends[i].theirs, text.data(), text.size(), 0),
                  static_cast<ssize_t>(text.size()));
        operation& op = held.emplace_back(opcode::receive_leased, ends[i].ours);
        if (!poller_->submit(op)) complete(op);
        ASSERT_EQ(op.result, static_cast<std::int32_t>(i + 1));
        EXPECT_EQ(op.lease_from_heap, i >= 6) << i << ": memory was asked for";
    }
    EXPECT_EQ(poller_->census().leases, ends.size());
    for (const operation& op : held)
        poller_->return_lease(op.lease_id, op.lease_data, op.lease_from_heap);
}

TEST_F(epoll_special, an_idle_leased_receive_holds_no_buffer_and_the_cap_holds) {
    poller_options options;
    options.lease_buffers = options.lease_buffers_most = 1;
    options.leases_on_heap = 1;
    options.lease_buffer_bytes = 64;
    make(options);
    std::array<pair_of_ends, 3> ends{tcp_pair(), tcp_pair(), tcp_pair()};
    operation first(opcode::receive_leased, ends[0].ours);
    operation second(opcode::receive_leased, ends[1].ours);
    operation third(opcode::receive_leased, ends[2].ours);
    for (operation* op : {&first, &second, &third}) ASSERT_FALSE(poller_->submit(*op));
    EXPECT_EQ(poller_->census().leases, 0u);

    ASSERT_EQ(::send(ends[0].theirs, "ab", 2, 0), 2);
    complete(first);
    EXPECT_FALSE(first.lease_from_heap);
    ASSERT_EQ(::send(ends[1].theirs, "abc", 3, 0), 3);
    complete(second);
    EXPECT_TRUE(second.lease_from_heap);
    EXPECT_EQ(poller_->census().leases, 2u);

    // No buffer is left: that hurts only when bytes are there, and takes none of them.
    poller_->cancel(third);
    complete(third);
    EXPECT_EQ(third.result, -ECANCELED);
    ASSERT_EQ(::send(ends[2].theirs, "abcd", 4, 0), 4);
    operation fourth(opcode::receive_leased, ends[2].ours);
    EXPECT_EQ(run(fourth), result_limit);
    const pair_of_ends silent = tcp_pair();
    operation patient(opcode::receive_leased, silent.ours);
    ASSERT_FALSE(poller_->submit(patient));
    poller_->cancel(patient);
    complete(patient);
    poller_->return_lease(first.lease_id, first.lease_data, first.lease_from_heap);
    poller_->return_lease(second.lease_id, second.lease_data, second.lease_from_heap);
    operation fifth(opcode::receive_leased, ends[2].ours);
    EXPECT_EQ(run(fifth), 4);
    poller_->return_lease(fifth.lease_id, fifth.lease_data, fifth.lease_from_heap);
}

}  // namespace
}  // namespace coro::detail::epoll_tests
