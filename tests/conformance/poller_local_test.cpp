// Unix sockets at the waist: names of every length, a full backlog, and what has moved.
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// An abstract name of `length` characters, of this process alone.
socket_address name_of(std::size_t length) {
    static int count = 0;
    std::string name = "coro-" + std::to_string(::getpid()) + "-" + std::to_string(++count) + "-";
    name.resize(length, 'n');
    socket_address made;
    const sa_family_t family = AF_UNIX;
    std::memcpy(made.bytes.data(), &family, sizeof family);
    std::memcpy(made.bytes.data() + 3, name.data(), name.size());
    made.size = static_cast<std::uint32_t>(3 + name.size());
    return made;
}

bool same(const socket_address& left, const socket_address& right) {
    return left.size == right.size && std::equal(left.bytes.begin(),
                                                 left.bytes.begin() + left.size,
                                                 right.bytes.begin());
}

class poller_local_test : public poller_fixture {
protected:
    listener_socket listen_local(const socket_address& where, int backlog = 16) {
        listener_socket made{open(address_family::local), where};
        file_mark mark;
        EXPECT_EQ(world().listen_local(made.handle, where, {backlog, -1}, mark), 0);
        EXPECT_FALSE(mark) << "an abstract name has no file";
        return made;
    }
    connected_pair connect_local(const listener_socket& listener) {
        return connect_pair(listener, address_family::local);
    }
    std::uint64_t moved(detail::handle socket) {
        std::uint64_t bytes = 0;
        EXPECT_EQ(world().moved_bytes(socket, bytes), 0);
        return bytes;
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_local_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_local_test, names_of_every_length_are_bound_and_told) {
    for (const std::size_t length : {24u, 25u, 26u, 60u, 106u, 107u}) {
        const socket_address name = name_of(length);
        const listener_socket listener = listen_local(name);
        const connected_pair pair = connect_local(listener);
        socket_address seen;
        EXPECT_EQ(world().remote_address(pair.client, seen), 0);
        EXPECT_TRUE(same(seen, name)) << length;
        EXPECT_EQ(world().local_address(pair.server, seen), 0);
        EXPECT_TRUE(same(seen, name)) << length;
        EXPECT_EQ(world().remote_address(pair.server, seen), 0);
        EXPECT_EQ(seen.size, sizeof(sa_family_t)) << "a client has no name";
        EXPECT_EQ(receive_after(pair, "bytes"), "bytes");
    }
}

TEST_P(poller_local_test, a_peer_keeps_its_name_when_it_has_gone) {
    const socket_address name = name_of(70);
    const connected_pair pair = connect_local(listen_local(name));
    world().close(pair.server);
    EXPECT_EQ(receive(pair.client), "<0>");
    socket_address seen;
    EXPECT_EQ(world().remote_address(pair.client, seen), 0);
    EXPECT_TRUE(same(seen, name));
}

TEST_P(poller_local_test, an_address_that_is_too_long_is_refused) {
    socket_address name = name_of(107);
    name.size = 111;
    file_mark mark;
    EXPECT_EQ(world().listen_local(open(address_family::local), name, {}, mark), -EINVAL);
    EXPECT_EQ(connect(open(address_family::local), name), -EINVAL);
    name.size = sizeof(sa_family_t);
    EXPECT_EQ(connect(open(address_family::local), name), -EINVAL) << "nobody is unnamed";
    name.size = 113;
    EXPECT_EQ(world().bind(open(address_family::local), name), -EINVAL);
    EXPECT_EQ(connect(open(address_family::local), name), -EINVAL);
}

TEST_P(poller_local_test, a_name_that_is_taken_is_in_use) {
    const socket_address name = name_of(30);
    const listener_socket listener = listen_local(name);
    file_mark mark;
    EXPECT_EQ(world().listen_local(open(address_family::local), name, {}, mark), -EADDRINUSE);
    EXPECT_EQ(receive_after(connect_local(listener), "lives"), "lives");
}

TEST_P(poller_local_test, a_connect_waits_for_room_in_the_backlog) {
    const socket_address name = name_of(30);
    const listener_socket listener = listen_local(name, 0);
    const detail::handle first = open(address_family::local);
    ASSERT_EQ(connect(first, name), 0);
    socket_address where = name;
    operation second(opcode::connect, open(address_family::local));
    operation third(opcode::connect, open(address_family::local));
    second.where = third.where = &where;
    ASSERT_FALSE(submit(second));
    ASSERT_FALSE(submit(third));
    settle();
    EXPECT_EQ(second.phase, operation_phase::submitted);
    world().cancel(third);
    finish(third);
    EXPECT_EQ(third.result, -ECANCELED);
    accept(listener);
    finish(second);
    EXPECT_EQ(second.result, 0);
    const detail::handle server = accept(listener);
    EXPECT_EQ(receive_after({second.target, server}, "through"), "through");
}

/// Nothing tells of room in a backlog, so the kernel is asked again; once in a millisecond.
TEST_P(poller_local_test, a_connect_that_waits_for_room_does_not_spin) {
    const listener_socket listener = listen_local(name_of(30), 0);
    ASSERT_EQ(connect(open(address_family::local), listener.address), 0);
    socket_address where = listener.address;
    std::array<operation, 3> waiting{operation(opcode::connect, open(address_family::local)),
                                     operation(opcode::connect, open(address_family::local)),
                                     operation(opcode::connect, open(address_family::local))};
    for (operation& each : waiting) {
        each.where = &where;
        ASSERT_FALSE(submit(each));
    }
    const std::uint64_t enters = world().counters.enters;
    const time_point begin = world().now();
    std::int64_t waits = 0;
    for (; world().now() < begin + 20ms; ++waits) collect(begin + 20ms);
    // A turn asks, and finds the answer; the next one sleeps.
    const std::int64_t milliseconds = (world().now() - begin) / 1ms;
    EXPECT_LE(waits, 3 * (milliseconds + 2));
    EXPECT_LE(world().counters.enters - enters,
              static_cast<std::uint64_t>(4 * (milliseconds + 2)));
    // Any of them may get the room.
    for (std::ptrdiff_t through = 1; through <= std::ssize(waiting); ++through) {
        accept(listener);
        until("one more gets through", [&] {
            return std::count_if(waiting.begin(), waiting.end(), [](const operation& each) {
                       return each.phase == operation_phase::completed && each.result == 0;
                   }) == through;
        });
    }
}

/// Between the refusal and the next attempt a cancelled connect leaves its socket free at once.
TEST_P(poller_local_test, a_connect_that_waited_for_room_is_cancelled_and_made_again) {
    const listener_socket full = listen_local(name_of(30), 0);
    ASSERT_EQ(connect(open(address_family::local), full.address), 0);
    const listener_socket free = listen_local(name_of(30));
    socket_address at_full = full.address;
    socket_address at_free = free.address;
    const detail::handle client = open(address_family::local);
    operation waiting(opcode::connect, client);
    waiting.where = &at_full;
    for (int round = 0; round < 3; ++round) {
        ASSERT_FALSE(submit(waiting));
        collect_now();
        world().cancel(waiting);
        finish(waiting);
        EXPECT_EQ(waiting.result, -ECANCELED);
    }
    // Refused again, with older entries for the same handle: asked for once, and it gets through.
    ASSERT_FALSE(submit(waiting));
    settle(3ms);
    ASSERT_EQ(waiting.phase, operation_phase::submitted);
    world().cancel(waiting);
    finish(waiting);
    operation other(opcode::connect, client);
    other.where = &at_free;
    EXPECT_EQ(run(other), 0);
    settle(3ms);
    EXPECT_EQ(receive_after({client, accept(free)}, "through"), "through");
}

TEST_P(poller_local_test, a_connect_that_waits_for_room_keeps_its_socket_here) {
    const listener_socket listener = listen_local(name_of(30), 0);
    ASSERT_EQ(connect(open(address_family::local), listener.address), 0);
    socket_address where = listener.address;
    operation waiting(opcode::connect, open(address_family::local));
    waiting.where = &where;
    ASSERT_FALSE(submit(waiting));
    collect_now();
    detached gone;
    EXPECT_EQ(world().detach(waiting.target, gone), -EBUSY);
    if (!simulated()) {
        int descriptor = -1;
        EXPECT_EQ(world().release(waiting.target, descriptor), -EBUSY);
        EXPECT_EQ(descriptor, -1);
    }
    world().cancel(waiting);
    finish(waiting);
    EXPECT_EQ(waiting.result, -ECANCELED);
    // Its handle is stale when the next attempt is due.
    ASSERT_EQ(world().detach(waiting.target, gone), 0);
    detail::handle again;
    ASSERT_EQ(world().attach(std::move(gone), again), 0);
    settle(3ms);
    accept(listener);
    operation later(opcode::connect, again);
    later.where = &where;
    EXPECT_EQ(run(later), 0);
    world().close(again);
}

/// The slot of a closed socket is used again before the refused connect would be asked for.
TEST_P(poller_local_test, a_refused_connect_is_not_made_on_the_next_socket_of_its_slot) {
    const listener_socket listener = listen_local(name_of(30), 0);
    ASSERT_EQ(connect(open(address_family::local), listener.address), 0);
    socket_address where = listener.address;
    for (int round = 0; round < 4; ++round) {
        operation waiting(opcode::connect, open(address_family::local));
        waiting.where = &where;
        ASSERT_FALSE(submit(waiting));
        collect_now();
        world().close(waiting.target);
        finish(waiting);
        EXPECT_EQ(waiting.result, result_closed);
        const detail::handle next = open(address_family::local);
        settle(3ms);
        socket_address seen;
        EXPECT_EQ(world().remote_address(next, seen), -ENOTCONN);
        world().close(next);
    }
}

TEST_P(poller_local_test, a_connect_that_waits_for_room_ends_with_its_socket) {
    const listener_socket listener = listen_local(name_of(30), 0);
    ASSERT_EQ(connect(open(address_family::local), listener.address), 0);
    socket_address where = listener.address;
    operation waiting(opcode::connect, open(address_family::local));
    waiting.where = &where;
    ASSERT_FALSE(submit(waiting));
    settle();
    world().close(waiting.target);
    finish(waiting);
    EXPECT_EQ(waiting.result, result_closed);
}

TEST_P(poller_local_test, a_connect_waits_for_room_without_end) {
    const listener_socket listener = listen_local(name_of(30), 0);
    ASSERT_EQ(connect(open(address_family::local), listener.address), 0);
    socket_address where = listener.address;
    operation waiting(opcode::connect, open(address_family::local));
    waiting.where = &where;
    ASSERT_FALSE(submit(waiting));
    // Only the simulated clock jumps so far: longer than the retries of TCP.
    settle(simulated() ? duration(200s) : duration(3ms));
    ASSERT_EQ(waiting.phase, operation_phase::submitted);
    accept(listener);
    finish(waiting);
    EXPECT_EQ(waiting.result, 0);
}

TEST_P(poller_local_test, every_byte_that_moves_is_counted) {
    const connected_pair pair = connect_local(listen_local(name_of(30)));
    const std::uint64_t client = moved(pair.client);
    const std::uint64_t server = moved(pair.server);
    EXPECT_EQ(receive_after(pair, "12345"), "12345");
    EXPECT_EQ(moved(pair.client), client + 5);
    EXPECT_EQ(moved(pair.server), server + 5);

    std::string text = "vectored";
    std::array<io_slice, 2> slices{io_slice{text.data(), 3}, io_slice{text.data() + 3, 5}};
    operation sending(opcode::send_vectored, pair.server);
    sending.slices.first = slices.data();
    sending.slices.count = slices.size();
    ASSERT_EQ(run(sending), 8);
    settle();
    EXPECT_EQ(moved(pair.client), client + 13) << "what is unread counts";
    std::string into(8, '\0');
    std::array<io_slice, 2> room{io_slice{into.data(), 5}, io_slice{into.data() + 5, 3}};
    operation receiving(opcode::receive_vectored, pair.client);
    receiving.slices.first = room.data();
    receiving.slices.count = room.size();
    ASSERT_EQ(run(receiving), 8);
    EXPECT_EQ(into, text);
    EXPECT_EQ(moved(pair.client), client + 13) << "and does not count again when it is read";

    EXPECT_EQ(send(pair.server, "leased"), 6);
    operation leased(opcode::receive_leased, pair.client);
    leased.most = 4096;
    ASSERT_EQ(run(leased), 6);
    world().return_lease(leased.lease_id, leased.lease_data, leased.lease_from_heap);
    EXPECT_EQ(moved(pair.client), client + 19);
    EXPECT_EQ(moved(pair.server), server + 19);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
