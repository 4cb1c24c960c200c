// What only the simulation promises: exact time, latency, one order, the seed, and a stuck program
// that ends with a sentence. See src/sim/sim_poller.hpp.
#include "poller_test_support.hpp"
#include "sim/sim_poller.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

std::vector<poller_choice> simulation_alone() {
    return {poller_choice::simulation};
}

class sim_poller_test : public poller_fixture {
protected:
    sim_world& simulation() { return dynamic_cast<sim_poller&>(world()).simulation(); }
};
INSTANTIATE_TEST_SUITE_P(simulation_alone, sim_poller_test, ::testing::ValuesIn(simulation_alone()),
                         parameter_name);

TEST_P(sim_poller_test, time_starts_at_one_second_and_jumps) {
    EXPECT_EQ(world().now(), time_point{1s});
    collect(time_point{24h});
    EXPECT_EQ(world().now(), time_point{24h});
    EXPECT_EQ(world().counters.waits, 1u);
}

TEST_P(sim_poller_test, latency_is_paid_in_virtual_time) {
    const connected_pair pair = connect_pair();
    simulation().set_latency(20ms);
    const time_point before = world().now();
    EXPECT_EQ(receive_after(pair, "slow"), "slow");
    EXPECT_EQ(world().now(), before + 20ms);
    EXPECT_EQ(connect(open(), listen().address), 0);
    EXPECT_EQ(world().now(), before + 60ms) << "a connect takes a round trip";
    world().close(pair.client);
    EXPECT_EQ(receive(pair.server), "<0>");
    EXPECT_EQ(world().now(), before + 80ms);
}

TEST_P(sim_poller_test, bytes_in_flight_to_a_closed_socket_come_back_as_a_reset) {
    const connected_pair pair = connect_pair();
    simulation().set_latency(10ms);
    send_all(pair.client, "too late");
    world().close(pair.server);
    collect(world().now() + 10ms);
    EXPECT_EQ(receive(pair.client), "<0>");
    collect(world().now() + 10ms);
    EXPECT_EQ(send(pair.client, "x"), -EPIPE);
}

/// The clock stands while a task sends: without a bound it could send for ever before it learns.
TEST_P(sim_poller_test, one_that_sends_to_a_closed_peer_waits_when_its_buffer_is_full) {
    const connected_pair pair = connect_pair();
    simulation().set_latency(10ms);
    world().close(pair.server);
    const time_point before = world().now();
    const std::string much(100'000, 'm');
    EXPECT_EQ(send(pair.client, much), 65'536);
    EXPECT_EQ(world().now(), before);
    operation waiting(opcode::send, pair.client);
    waiting.buffer.data = const_cast<char*>(much.data());
    waiting.buffer.size = much.size();
    ASSERT_FALSE(submit(waiting));
    finish(waiting);
    EXPECT_EQ(waiting.result, -EPIPE) << "the end had come before the reset";
    EXPECT_EQ(world().now(), before + 20ms);
}

TEST_P(sim_poller_test, connect_to_a_full_backlog_expires) {
    const listener_socket listener = listen(0);
    ASSERT_EQ(connect(open(), listener.address), 0);
    const time_point before = world().now();
    EXPECT_EQ(connect(open(), listener.address), -ETIMEDOUT);
    EXPECT_EQ(world().now(), before + 127s);
}

TEST_P(sim_poller_test, lowest_free_slot_is_reused_at_once) {
    const detail::handle first = open();
    const detail::handle second = open();
    const detail::handle third = open();
    world().close(second);
    world().close(first);
    const detail::handle reused = open();
    EXPECT_EQ(reused.index, first.index);
    EXPECT_NE(reused.generation, first.generation);
    EXPECT_EQ(open().index, second.index);
    EXPECT_GT(open().index, third.index);
}

TEST_P(sim_poller_test, ephemeral_ports_count_upward) {
    EXPECT_EQ(port_of(listen().address), 32768);
    EXPECT_EQ(port_of(listen().address), 32769);
}

TEST_P(sim_poller_test, ephemeral_ports_run_out) {
    const listener_socket listener = listen(4096);
    const int available = port_table::last_ephemeral - port_table::first_ephemeral;
    for (int i = 0; i < available; ++i) {
        ASSERT_EQ(world().bind(open(), loopback(address_family::ipv4)), 0) << i;
    }
    EXPECT_EQ(world().bind(open(), loopback(address_family::ipv4)), -EADDRINUSE);
    EXPECT_EQ(connect(open(), listener.address), -EADDRNOTAVAIL);
}

TEST_P(sim_poller_test, seed_decides_all_that_is_random) {
    const auto draw = [&](std::uint64_t seed) {
        restart({}, seed);
        std::array<std::uint8_t, 100> bytes{};
        shared_world().random(bytes.data(), bytes.size());
        return bytes;
    };
    const auto first = draw(7);
    EXPECT_EQ(draw(7), first);
    EXPECT_NE(draw(8), first);
}

TEST_P(sim_poller_test, pipe_holds_what_the_options_say) {
    const connected_pair pair = narrow_pair();
    const std::string much(100000, 'm');
    EXPECT_EQ(send(pair.client, much), 8192) << "4096 of the sender and 4096 of the receiver";
    EXPECT_EQ(receive(pair.server, 100).size(), 100u);
    EXPECT_EQ(send(pair.client, much), 100);
}

TEST_P(sim_poller_test, local_names_work_like_addresses) {
    socket_address name;
    const std::uint16_t family = AF_UNIX;
    std::memcpy(name.bytes.data(), &family, sizeof family);
    std::memcpy(name.bytes.data() + 2, "/run/it", 8);
    name.size = 10;
    EXPECT_EQ(connect(open(address_family::local), name), -ENOENT);
    const listener_socket listener = listen_on(open(address_family::local), name, 4);
    EXPECT_EQ(listener.address.size, name.size);
    EXPECT_EQ(listener.address.bytes, name.bytes);
    EXPECT_EQ(world().bind(open(address_family::local), name), -EADDRINUSE);
    const connected_pair pair = connect_pair(listener, address_family::local);
    EXPECT_EQ(receive_after(pair, "local"), "local");
}

TEST_P(sim_poller_test, descriptors_are_not_of_this_world) {
    detail::handle adopted;
    int released = -1;
    EXPECT_EQ(world().adopt(0, adopted), -EOPNOTSUPP);
    EXPECT_EQ(world().release(open(), released), -EOPNOTSUPP);
}

TEST_P(sim_poller_test, there_is_no_thread_but_that_of_the_loops) {
    EXPECT_THROW(shared_world().start_thread("other", [] {}), std::system_error);
}

TEST_P(sim_poller_test, a_seed_chooses_among_equals) {
    restart({}, 5);
    std::array<unsigned, 3> times{};
    for (int i = 0; i < 300; ++i) ++times.at(shared_world().choose(times.size()));
    for (const unsigned each : times) EXPECT_GT(each, 50u);
    EXPECT_EQ(shared_world().choose(1), 0u);
}

TEST_P(sim_poller_test, stuck_program_is_seen) {
    operation accepting(opcode::accept, listen().handle);
    ASSERT_FALSE(submit(accepting));
    shared_world().stuck_is_looked_at = true;
    collect(never);
    EXPECT_TRUE(shared_world().stuck);
    collect(world().now() + 1s);
    EXPECT_FALSE(shared_world().stuck) << "a timer is something to wait for";
    world().wake();
    collect(never);
    EXPECT_FALSE(shared_world().stuck);
    world().cancel(accepting);
    finish(accepting);
}

using sim_poller_death_test = sim_poller_test;
INSTANTIATE_TEST_SUITE_P(simulation_alone, sim_poller_death_test,
                         ::testing::ValuesIn(simulation_alone()), parameter_name);

TEST_P(sim_poller_death_test, stuck_program_aborts_with_a_sentence) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(collect(never), "simulation: nothing can ever happen again");
}

/// One script, its every result written down; two runs must agree to the letter.
std::string script(poller& world) {
    std::string log;
    operation_list completed;
    detail::handle listener;
    socket_address where = loopback(address_family::ipv4, 700);
    world.open_stream(address_family::ipv4, listener);
    world.bind(listener, where);
    world.listen(listener, 2);
    std::vector<std::unique_ptr<operation>> operations;
    for (int i = 0; i < 8; ++i) {
        operation& connecting = *operations.emplace_back(new operation(opcode::connect));
        world.open_stream(address_family::ipv4, connecting.target);
        connecting.where = &where;
        if (!world.submit(connecting) && i % 3 == 0) world.cancel(connecting);
        operation& accepting = *operations.emplace_back(new operation(opcode::accept, listener));
        static_cast<void>(world.submit(accepting));
        world.wait(world.now() + 1ms, completed);
    }
    world.close(listener);
    for (const auto& op : operations) world.close(op->target);
    world.wait(world.now() + 200s, completed);
    world.wait(world.now() + 200s, completed);
    for (const auto& op : operations) log += std::to_string(op->result) + ' ';
    while (const operation* op = completed.pop()) log += std::to_string(op->target.index) + ' ';
    return log + std::to_string(world.now().time_since_epoch().count());
}

TEST_P(sim_poller_test, same_program_same_run) {
    const std::string first = script(*std::make_unique<lone_sim_poller>());
    EXPECT_EQ(script(*std::make_unique<lone_sim_poller>()), first);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
