// Rule 6 of the waist as far as listeners go: who waits to be accepted, backlogs, limits, shedding.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <deque>

#include "poller_test_support.hpp"
#include "sim/sim_poller.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// Lowers the limit on descriptors while it lives; a simulated world has one of its own. Made
/// before the first operation: io_uring notes the limit when an accept is submitted, not when it
/// succeeds.
class descriptor_limit {
public:
    explicit descriptor_limit(poller& world) : simulation_(dynamic_cast<sim_poller*>(&world)) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        rlimit low = before_;
        low.rlim_cur = 256;
        ::setrlimit(RLIMIT_NOFILE, &low);
    }
    descriptor_limit(const descriptor_limit&) = delete;
    descriptor_limit& operator=(const descriptor_limit&) = delete;
    ~descriptor_limit() {
        free_all();
        ::setrlimit(RLIMIT_NOFILE, &before_);
    }

    /// From now on there is no descriptor left.
    void use_up() {
        if (simulation_ != nullptr) return simulation_->simulation().limit_sockets(0);
        int descriptor = 0;
        while ((descriptor = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) {
            held_.push_back(descriptor);
        }
    }

    void free_all() {
        if (simulation_ != nullptr) simulation_->simulation().limit_sockets(SIZE_MAX);
        for (const int descriptor : std::exchange(held_, {})) ::close(descriptor);
    }

private:
    sim_poller* simulation_;
    rlimit before_{};
    std::vector<int> held_;
};

class poller_listener_test : public poller_fixture {
protected:
    /// What a client sees whose connection was given up: an end or a reset.
    void expect_given_up(detail::handle client) {
        const std::string seen = receive(client);
        EXPECT_TRUE(seen == "<0>" || seen == answer(-ECONNRESET)) << seen;
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_listener_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_listener_test, accept_waits_for_a_connection) {
    const listener_socket listener = listen();
    operation accepting(opcode::accept, listener.handle);
    ASSERT_FALSE(submit(accepting));
    settle();
    EXPECT_EQ(accepting.phase, operation_phase::submitted);
    const detail::handle client = open();
    ASSERT_EQ(connect(client, listener.address), 0);
    finish(accepting);
    ASSERT_EQ(accepting.result, 0);
    keep(accepting.accepted);
    EXPECT_EQ(receive_after({client, accepting.accepted}, "hello"), "hello");
}

TEST_P(poller_listener_test, connection_succeeds_before_it_is_accepted) {
    const listener_socket listener = listen();
    const detail::handle client = open();
    ASSERT_EQ(connect(client, listener.address), 0);
    send_all(client, "early");
    EXPECT_EQ(receive_exactly(accept(listener), 5), "early");
}

TEST_P(poller_listener_test, each_connection_is_accepted_once) {
    const listener_socket listener = listen();
    std::vector<detail::handle> servers;
    for (int i = 0; i < 30; ++i) {
        ASSERT_EQ(connect(open(), listener.address), 0);
        if (i % 2 == 0) settle(1ms);
        if (i % 3 == 2) servers.push_back(accept(listener));
    }
    while (servers.size() < 30) servers.push_back(accept(listener));
    std::vector<std::uint16_t> ports;
    for (const detail::handle server : servers) {
        socket_address peer;
        ASSERT_EQ(world().remote_address(server, peer), 0);
        ports.push_back(port_of(peer));
    }
    std::sort(ports.begin(), ports.end());
    EXPECT_EQ(std::unique(ports.begin(), ports.end()), ports.end());
}

TEST_P(poller_listener_test, full_backlog_keeps_the_next_connect_pending_until_there_is_room) {
    const listener_socket listener = listen(0);
    ASSERT_EQ(connect(open(), listener.address), 0);
    await_queue(listener, 1);
    socket_address where = listener.address;
    operation connecting(opcode::connect, open());
    connecting.where = &where;
    ASSERT_FALSE(submit(connecting));
    settle(20ms);
    ASSERT_EQ(connecting.phase, operation_phase::submitted);
    accept(listener);
    finish(connecting);  // a real kernel repeats its SYN after one second
    EXPECT_EQ(connecting.result, 0);
    accept(listener);
}

TEST_P(poller_listener_test, closing_the_listener_gives_up_who_waits) {
    const listener_socket listener = listen();
    const detail::handle first = open();
    const detail::handle second = open();
    ASSERT_EQ(connect(first, listener.address), 0);
    ASSERT_EQ(connect(second, listener.address), 0);
    await_queue(listener, 2);
    world().close(listener.handle);
    expect_given_up(first);
    expect_given_up(second);
}

TEST_P(poller_listener_test, what_nobody_asks_for_stays_in_the_queue) {
    const listener_socket listener = listen();
    operation waiting(opcode::accept, listener.handle);
    ASSERT_FALSE(submit(waiting));
    settle(1ms);
    constexpr std::size_t count = 300;
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(connect(open(), listener.address), 0);
    finish(waiting);
    keep(waiting.accepted);
    await_queue(listener, count - 1);
    settle();
    EXPECT_EQ(queue_length(port_of(listener.address), count - 1), count - 1);
    EXPECT_EQ(world().census().sockets, 1 + count + 1) << "the listener, the clients, and one";
    for (std::size_t i = 1; i < count; ++i) accept(listener);
}

// --- without descriptors

TEST_P(poller_listener_test, accept_without_descriptors_says_so_and_loses_nobody) {
    descriptor_limit limit(world());
    const listener_socket listener = listen();
    const detail::handle client = open();
    ASSERT_EQ(connect(client, listener.address), 0);
    await_queue(listener, 1);
    limit.use_up();
    for (int i = 0; i < 3; ++i) {
        operation accepting(opcode::accept, listener.handle);
        EXPECT_EQ(run(accepting), -EMFILE);
    }
    detail::handle none;
    EXPECT_EQ(world().open_stream(address_family::ipv4, none), -EMFILE);
    limit.free_all();
    const detail::handle server = accept(listener);
    EXPECT_EQ(receive_after({client, server}, "served"), "served");
}

TEST_P(poller_listener_test, pending_accept_meets_the_lack_of_descriptors) {
    descriptor_limit limit(world());
    const listener_socket listener = listen();
    operation accepting(opcode::accept, listener.handle);
    const detail::handle client = open();
    ASSERT_FALSE(submit(accepting));
    settle(1ms);
    limit.use_up();
    ASSERT_EQ(connect(client, listener.address), 0);
    finish(accepting);
    EXPECT_EQ(accepting.result, -EMFILE);
    limit.free_all();
    const detail::handle server = accept(listener);
    EXPECT_EQ(receive_after({client, server}, "served"), "served");
}

TEST_P(poller_listener_test, shedding_gives_up_exactly_one) {
    descriptor_limit limit(world());
    const listener_socket listener = listen();
    const detail::handle first = open();
    const detail::handle second = open();
    ASSERT_EQ(connect(first, listener.address), 0);
    ASSERT_EQ(connect(second, listener.address), 0);
    await_queue(listener, 2);
    limit.use_up();
    EXPECT_EQ(world().shed_connection(listener.handle), 0);
    limit.free_all();
    // The oldest goes, in every world.
    expect_given_up(first);
    const detail::handle server = accept(listener);
    EXPECT_EQ(receive_after({second, server}, "kept"), "kept");
}

TEST_P(poller_listener_test, shedding_without_anybody_answers_at_once) {
    const listener_socket listener = listen();
    EXPECT_LT(world().shed_connection(listener.handle), 0);
}

TEST_P(poller_listener_test, shedding_works_time_and_again) {
    descriptor_limit limit(world());
    const listener_socket listener = listen();
    std::vector<detail::handle> clients;
    for (int i = 0; i < 10; ++i) {
        clients.push_back(open());
        ASSERT_EQ(connect(clients.back(), listener.address), 0);
    }
    await_queue(listener, 10);
    limit.use_up();
    for (int i = 0; i < 9; ++i) EXPECT_EQ(world().shed_connection(listener.handle), 0) << i;
    limit.free_all();
    for (int i = 0; i < 9; ++i) expect_given_up(clients[static_cast<std::size_t>(i)]);
    EXPECT_EQ(receive_after({clients.back(), accept(listener)}, "last"), "last");
}

// --- places

TEST_P(poller_listener_test, address_in_use) {
    const listener_socket listener = listen();
    const detail::handle second = open();
    EXPECT_EQ(world().bind(second, listener.address), -EADDRINUSE);
    const detail::handle reusing = open();
    EXPECT_EQ(world().set_option(reusing, socket_option::reuse_address, 1), 0);
    EXPECT_EQ(world().set_option(listener.handle, socket_option::reuse_address, 1), 0);
    EXPECT_EQ(world().bind(reusing, listener.address), -EADDRINUSE)
        << "reuse_address does not take a place from a listener";
}

TEST_P(poller_listener_test, reuse_address_binds_beside_connections_that_are_left) {
    const detail::handle socket = open();
    EXPECT_EQ(world().set_option(socket, socket_option::reuse_address, 1), 0);
    const listener_socket listener = listen_on(socket, loopback(address_family::ipv4), 16);
    const connected_pair pair = connect_pair(listener);
    world().close(listener.handle);
    settle();
    const detail::handle again = open();
    EXPECT_EQ(world().set_option(again, socket_option::reuse_address, 1), 0);
    const listener_socket restarted = listen_on(again, listener.address, 16);
    EXPECT_EQ(receive_after(pair, "old"), "old");
    EXPECT_EQ(receive_after(connect_pair(restarted), "new"), "new");
}

TEST_P(poller_listener_test, reuse_port_shares_one_place) {
    const detail::handle first = open();
    const detail::handle second = open();
    EXPECT_EQ(world().set_option(first, socket_option::reuse_port, 1), 0);
    EXPECT_EQ(world().set_option(second, socket_option::reuse_port, 1), 0);
    const listener_socket left = listen_on(first, loopback(address_family::ipv4), 64);
    const listener_socket right = listen_on(second, left.address, 64);
    operation at_left(opcode::accept, left.handle);
    operation at_right(opcode::accept, right.handle);
    ASSERT_FALSE(submit(at_left));
    ASSERT_FALSE(submit(at_right));
    std::size_t tried = 0;
    while (at_left.phase == operation_phase::submitted ||
           at_right.phase == operation_phase::submitted) {
        ASSERT_LT(++tried, 60u) << "one of the two listeners is never chosen";
        ASSERT_EQ(connect(open(), left.address), 0);
        settle(1ms);
    }
    keep(at_left.accepted);
    keep(at_right.accepted);
}

TEST_P(poller_listener_test, bind_twice_is_refused) {
    const detail::handle socket = open();
    EXPECT_EQ(world().bind(socket, loopback(address_family::ipv4)), 0);
    EXPECT_EQ(world().bind(socket, loopback(address_family::ipv4)), -EINVAL);
}

TEST_P(poller_listener_test, short_address_is_refused) {
    socket_address cut = loopback(address_family::ipv4);
    cut.size = 4;
    EXPECT_EQ(world().bind(open(), cut), -EINVAL);
}

TEST_P(poller_listener_test, wildcard_listener_is_reached_by_loopback) {
    const listener_socket listener = listen_on(open(), ipv4_address(0, INADDR_ANY), 16);
    const detail::handle client = open();
    ASSERT_EQ(connect(client, ipv4_address(port_of(listener.address))), 0);
    const detail::handle server = accept(listener);
    EXPECT_EQ(receive_after({client, server}, "any"), "any");
    socket_address own;
    ASSERT_EQ(world().local_address(server, own), 0);
    EXPECT_EQ(text_of(own), "127.0.0.1:" + std::to_string(port_of(listener.address)));
}

TEST_P(poller_listener_test, dual_stack_listener_takes_ipv4_unless_v6_only) {
    for (const int v6_only : {0, 1}) {
        const detail::handle socket = open(address_family::ipv6);
        EXPECT_EQ(world().set_option(socket, socket_option::v6_only, v6_only), 0);
        const listener_socket listener = listen_on(socket, ipv6_address(0, in6addr_any), 16);
        const socket_address where = ipv4_address(port_of(listener.address));
        const detail::handle client = open();
        ASSERT_EQ(connect(client, where), v6_only != 0 ? -ECONNREFUSED : 0);
        if (v6_only != 0) continue;
        const detail::handle server = accept(listener);
        EXPECT_EQ(receive_after({client, server}, "mapped"), "mapped");
        socket_address peer;
        ASSERT_EQ(world().remote_address(server, peer), 0);
        EXPECT_EQ(text_of(peer).rfind("[::ffff:127.0.0.1]:", 0), 0u) << text_of(peer);
    }
}

// --- accept_if_waiting

TEST_P(poller_listener_test, accept_if_waiting_tells_at_once_that_nobody_waits) {
    const listener_socket listener = listen();
    for (int round = 0; round < 3; ++round) {
        operation looking(opcode::accept_if_waiting, listener.handle);
        const std::uint64_t asked = world().counters.would_block;
        EXPECT_TRUE(submit(looking)) << "it is never pending";
        EXPECT_EQ(looking.result, -EAGAIN);
        EXPECT_LE(world().counters.would_block, asked + 1) << "the kernel is asked once";
        settle(1ms);
    }
    EXPECT_EQ(receive_after(connect_pair(listener), "later"), "later");
}

/// The edge of a connection that has just come was not read yet.
TEST_P(poller_listener_test, accept_if_waiting_takes_who_has_just_come) {
    const listener_socket listener = listen();
    operation nobody(opcode::accept_if_waiting, listener.handle);
    ASSERT_TRUE(submit(nobody));
    std::vector<connected_pair> pairs(3);
    for (connected_pair& each : pairs) {
        each.client = open();
        ASSERT_EQ(connect(each.client, listener.address), 0);
    }
    for (connected_pair& each : pairs) {
        operation looking(opcode::accept_if_waiting, listener.handle);
        EXPECT_TRUE(submit(looking));
        ASSERT_EQ(looking.result, 0);
        each.server = looking.accepted;
        keep(each.server);
    }
    operation last(opcode::accept_if_waiting, listener.handle);
    EXPECT_TRUE(submit(last));
    EXPECT_EQ(last.result, -EAGAIN);
    for (const connected_pair& each : pairs) EXPECT_EQ(receive_after(each, "mine"), "mine");
}

TEST_P(poller_listener_test, accept_if_waiting_is_an_accept_like_any_other) {
    const listener_socket listener = listen();
    operation waiting(opcode::accept, listener.handle);
    ASSERT_FALSE(submit(waiting));
    operation looking(opcode::accept_if_waiting, listener.handle);
    EXPECT_TRUE(submit(looking));
    EXPECT_EQ(looking.result, result_busy);
    world().cancel(waiting);
    finish(waiting);
    EXPECT_EQ(waiting.result, -ECANCELED);
    world().close(listener.handle);
    operation closed(opcode::accept_if_waiting, listener.handle);
    EXPECT_TRUE(submit(closed));
    EXPECT_EQ(closed.result, result_closed);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
