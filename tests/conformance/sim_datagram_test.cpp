// Datagrams: what the simulation alone promises, time, buffers and the seed. See sim/sim_world.hpp.
#include <array>
#include <deque>

#include "datagram_test_support.hpp"
#include "sim/sim_poller.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class sim_datagram_test : public poller_datagram_test {
protected:
    sim_world& simulation() { return dynamic_cast<sim_poller&>(world()).simulation(); }
};
INSTANTIATE_TEST_SUITE_P(simulation_alone, sim_datagram_test,
                         ::testing::Values(poller_choice::simulation), parameter_name);

TEST_P(sim_datagram_test, a_message_takes_the_latency_and_a_refusal_both_ways) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    const socket_address where = nobody();
    simulation().set_latency(20ms);
    const time_point before = world().now();
    ASSERT_EQ(connect(client, server.address), 0);
    EXPECT_EQ(world().now(), before) << "a connect of a datagram socket crosses nothing";
    EXPECT_EQ(send_to(client, "slow"), 4);
    EXPECT_EQ(world().now(), before);
    EXPECT_EQ(receive_from(server.handle), "slow|");
    EXPECT_EQ(world().now(), before + 20ms);
    ASSERT_EQ(connect(client, where), 0);
    EXPECT_EQ(send_to(client, "anybody?"), 8);
    EXPECT_EQ(receive_from(client), answer(-ECONNREFUSED));
    EXPECT_EQ(world().now(), before + 60ms);
}

TEST_P(sim_datagram_test, a_refusal_of_a_peer_of_before_is_not_told) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    ASSERT_EQ(connect(client, nobody()), 0);
    simulation().set_latency(20ms);
    EXPECT_EQ(send_to(client, "anybody?"), 8);
    ASSERT_EQ(connect(client, server.address), 0);
    expect_nothing(client);
    EXPECT_EQ(send_to(client, "well"), 4);
    EXPECT_EQ(receive_from(server.handle), "well|");
}

TEST_P(sim_datagram_test, a_sender_waits_while_its_buffer_is_on_the_way) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    ASSERT_EQ(world().set_option(client, socket_option::send_buffer, 8192), 0);
    ASSERT_EQ(world().set_option(server.handle, socket_option::receive_buffer, 65536), 0);
    simulation().set_latency(10ms);
    const std::string text(4096 - 28, 'x');
    EXPECT_EQ(send_to(client, text, server.address), 4068);
    EXPECT_EQ(send_to(client, text, server.address), 4068);
    const time_point before = world().now();
    sending cancelled(client, "cancelled", server.address);
    ASSERT_FALSE(submit(cancelled.op));
    world().cancel(cancelled.op);
    finish(cancelled.op);
    EXPECT_EQ(cancelled.op.result, -ECANCELED);
    EXPECT_EQ(world().now(), before);
    EXPECT_EQ(send_to(client, "third", server.address), 5);
    EXPECT_EQ(world().now(), before + 10ms);
    for (const std::string& expected : {text, text, std::string("third")}) {
        EXPECT_EQ(receive_from(server.handle, 8192), expected + "|");
    }
    sending closed(client, std::string(60'000, 'y'), server.address);
    ASSERT_TRUE(submit(closed.op)) << "an empty buffer takes one of any size";
    sending waits(client, "closed", server.address);
    ASSERT_FALSE(submit(waits.op));
    world().close(client);
    finish(waits.op);
    EXPECT_EQ(waits.op.result, result_closed);
}

TEST_P(sim_datagram_test, a_queue_holds_its_receive_buffer_headers_counted) {
    const endpoint server = bound();
    const detail::handle client = open_datagram();
    ASSERT_EQ(world().set_option(server.handle, socket_option::receive_buffer, 4000), 0);
    for (int i = 0; i < 10; ++i) {
        ASSERT_EQ(send_to(client, std::string(1000 - 28, 'x'), server.address), 972);
    }
    settle();
    for (int i = 0; i < 4; ++i) EXPECT_EQ(receive_from(server.handle).size(), 973u);
    expect_nothing(server.handle);
}

TEST_P(sim_datagram_test, a_socket_of_ipv6_talks_to_one_of_ipv4) {
    const endpoint v4 = bound();
    const detail::handle v6 = open_datagram(address_family::ipv6);
    EXPECT_EQ(send_to(v6, "question", v4.address), 8);
    receiving question(v4.handle);
    run(question.op);
    EXPECT_EQ(question.outcome(), "question|");
    EXPECT_EQ(text_of(question.message.peer).rfind("127.0.0.1:", 0), 0u);
    EXPECT_EQ(send_to(v4.handle, "reply", question.message.peer), 5);
    receiving reply(v6);
    run(reply.op);
    EXPECT_EQ(reply.outcome(), "reply|");
    EXPECT_EQ(text_of(reply.message.peer).rfind("[::ffff:127.0.0.1]:", 0), 0u);
}

TEST_P(sim_datagram_test, sockets_that_share_a_port_divide_the_senders) {
    socket_address where;
    const auto at = bound_together(socket_option::reuse_port, where);
    for (int i = 0; i < 6; ++i) EXPECT_EQ(send_to(open_datagram(), "x", where), 1);
    for (const detail::handle one : at) {
        EXPECT_EQ(receive_from(one), "x|") << "the senders' ports follow each other";
        EXPECT_EQ(receive_from(one), "x|");
        expect_nothing(one);
    }
}

TEST_P(sim_datagram_test, where_no_port_is_free_a_send_and_a_connect_say_so) {
    constexpr int all = port_table::last_ephemeral - port_table::first_ephemeral + 1;
    const socket_address where = loopback(address_family::ipv4, 9);
    const detail::handle last = open_datagram();
    std::deque<detail::handle> holders;
    for (int i = 0; i < all; ++i) {
        holders.emplace_back();
        ASSERT_EQ(world().open_datagram(address_family::ipv4, holders.back()), 0);
        ASSERT_EQ(world().bind(holders.back(), loopback(address_family::ipv4)), 0);
    }
    EXPECT_EQ(send_to(last, "x", where), -EADDRNOTAVAIL);
    EXPECT_EQ(connect(last, where), -EADDRNOTAVAIL);
    world().close(holders.front());
    EXPECT_EQ(send_to(last, "x", where), 1);
    for (const detail::handle one : holders) world().close(one);
}

/// What happened, with times, of a client that sends to two servers.
std::string trace_of(std::uint64_t seed) {
    sim_world all(seed, {.latency = 1ms, .latency_most = 50ms}, "simulation");
    sim_poller world(all, {});
    std::array<detail::handle, 2> servers;
    std::array<socket_address, 2> where;
    std::deque<receiving> got;
    detail::handle client;
    EXPECT_EQ(world.open_datagram(address_family::ipv4, client), 0);
    for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_EQ(world.open_datagram(address_family::ipv4, servers[i]), 0);
        EXPECT_EQ(world.bind(servers[i], loopback(address_family::ipv4)), 0);
        EXPECT_EQ(world.local_address(servers[i], where[i]), 0);
        got.emplace_back(servers[i]);
        EXPECT_FALSE(world.submit(got[i].op));
    }
    constexpr int count = 20;
    for (int i = 0; i < count; ++i) {
        sending sent(client, std::to_string(i), where[static_cast<std::size_t>(i % 2)]);
        EXPECT_TRUE(world.submit(sent.op));
        operation_list none;
        if (i % 4 == 3) world.wait(world.now() + 1us, none);
        EXPECT_TRUE(none.empty());
    }
    std::string trace;
    for (int came = 0; came < count;) {
        operation_list completed;
        world.wait(never, completed);
        while (operation* op = completed.pop()) {
            receiving& one = op == &got[0].op ? got[0] : got[1];
            trace += std::to_string((world.now() - time_point{1s}).count()) + ":" + one.outcome();
            ++came;
            while (came < count && world.submit(*op)) {
                trace += "+" + one.outcome();
                ++came;
            }
        }
    }
    for (receiving& one : got) world.cancel(one.op);
    while (world.census().operations != 0) {
        operation_list ended;
        world.wait(never, ended);
    }
    return trace;
}

TEST(sim_datagram_trace, one_seed_makes_one_trace_and_what_one_sent_stays_in_order) {
    const std::string first = trace_of(7);
    EXPECT_EQ(first, trace_of(7));
    EXPECT_NE(first, trace_of(8));
    // Each server's; the other one's stand in between.
    std::array<std::size_t, 2> at{};
    for (std::size_t i = 0; i < 20; ++i) {
        const std::string one = std::to_string(i) + "|";
        std::size_t& from = at[i % 2];
        const std::size_t found =
            std::min(first.find(":" + one, from), first.find("+" + one, from));
        ASSERT_NE(found, std::string::npos) << i << " in " << first;
        from = found;
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
