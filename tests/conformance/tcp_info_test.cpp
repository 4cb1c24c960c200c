// tcp_stream::info() and tcp_listener::queue(): what the kernel, or the simulated network, knows.
#include <string>
#include <utility>
#include <vector>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class tcp_info_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, tcp_info_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);
class tcp_info_kernel_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, tcp_info_kernel_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// Nobody is told when an end, or an acknowledgement, has come.
template <typename Condition>
task<> until(Condition holds) {
    while (!holds()) co_await sleep_for(1ms);
}

TEST_P(tcp_info_test, both_ends_are_established_and_know_their_round_trip) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        for (const net::tcp_stream* each : {&pair.near, &pair.far}) {
            const net::tcp_info info = each->info();
            EXPECT_EQ(info.state, net::tcp_state::established);
            EXPECT_TRUE(info.rtt.has_value()) << "the handshake is a round trip";
            EXPECT_GE(info.rtt.value_or(-1ns), duration::zero());
            if (simulated()) {
                EXPECT_FALSE(info.congestion_window.has_value()) << "nothing is made up";
                EXPECT_FALSE(info.phase.has_value());
                continue;
            }
            EXPECT_EQ(info.phase, net::congestion_phase::open);
            EXPECT_GT(info.rtt.value_or(0ns), duration::zero());
            EXPECT_GT(info.retransmission_timeout.value_or(0ns), info.rtt.value_or(0ns));
            EXPECT_GT(info.congestion_window.value_or(0), 0u);
            EXPECT_GT(info.send_mss.value_or(0), 500u);
            EXPECT_GT(info.send_window.value_or(0), 0u);
            EXPECT_GT(info.path_mtu.value_or(0), info.send_mss.value_or(0));
            EXPECT_GT(info.segments_received.value_or(0), 0u);
            EXPECT_FALSE(info.slow_start_threshold.has_value()) << "no loss has set it";
        }
    };
    in_world(body);
}

TEST_P(tcp_info_test, counts_the_bytes_of_both_directions) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const net::tcp_info before = pair.near.info();
        co_await say(pair.near, std::string(5000, 'x'));
        co_await hear(pair.far, std::string(5000, 'x'));
        co_await say(pair.far, "abc");
        co_await hear(pair.near, "abc");
        co_await until([&] {
            return pair.near.info().bytes_acked.value() - before.bytes_acked.value() == 5000;
        });
        const net::tcp_info after = pair.near.info();
        EXPECT_EQ(after.bytes_sent.value() - before.bytes_sent.value(), 5000u);
        EXPECT_EQ(after.bytes_received.value() - before.bytes_received.value(), 3u);
        EXPECT_EQ(after.unsent_bytes, 0u);
        EXPECT_EQ(pair.far.info().bytes_received.value(), 5000u);
        EXPECT_TRUE(after.since_data_sent.has_value());
        EXPECT_TRUE(after.since_data_received.has_value());
    };
    in_world(body);
}

/// What the peer has no room for stays in the send buffer, and shows there. (What a send of the
/// simulation has taken is on its way.)
TEST_P(tcp_info_kernel_test, shows_what_the_peer_has_no_room_for) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const std::string much(256 * 1024, 'y');
        while (pair.near.info().unsent_bytes.value() == 0)
            (void)co_await as_result(with_timeout(20ms, pair.near.write_some(as_bytes(much))));
        EXPECT_GT(pair.near.info().bytes_acked.value(), 0u);
        // The kernel counts these in ticks.
        co_await until([&] { return pair.near.info().busy.value() > 20ms; });
        co_await until([&] { return pair.near.info().receive_window_limited.value() > 0ms; });
    };
    in_world(body);
}

TEST_P(tcp_info_test, walks_through_the_states_of_an_orderly_end) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        pair.near.shutdown_send();
        co_await until([&] { return pair.far.info().state == net::tcp_state::close_wait; });
        co_await until([&] { return pair.near.info().state == net::tcp_state::fin_wait_2; });
        pair.far.shutdown_send();
        co_await until([&] { return pair.far.info().state == net::tcp_state::closed; });
        co_await until([&] { return pair.near.info().state == net::tcp_state::closed; });
    };
    in_world(body);
}

TEST_P(tcp_info_test, a_stream_without_a_connection_is_closed_by_name) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto refused = [](const auto& asked) {
            try {
                asked();
            } catch (const io_error& error) {
                EXPECT_EQ(error, errc::closed);
                return std::string(error.operation());
            }
            return std::string("no error");
        };
        const net::tcp_stream moved = std::move(pair.near);
        const auto ask_near = [&] { (void)pair.near.info(); };
        const auto ask_far = [&] { (void)pair.far.info(); };
        EXPECT_EQ(refused(ask_near), "getsockopt tcp_info") << "moved from";
        EXPECT_EQ(moved.info().state, net::tcp_state::established);
        pair.far.close();
        EXPECT_EQ(refused(ask_far), "getsockopt tcp_info") << "closed";
        const net::tcp_listener none;
        const auto ask_none = [&] { (void)none.queue(); };
        EXPECT_EQ(refused(ask_none), "getsockopt tcp_info of a listener");
        co_return;
    };
    in_world(body);
}

TEST_P(tcp_info_test, a_connection_that_was_reset_is_closed_and_still_has_its_counts) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.far, "last words");
        co_await hear(pair.near, "last words");
        pair.far.abort();
        co_await until([&] { return pair.near.info().state == net::tcp_state::closed; });
        EXPECT_GE(pair.near.info().bytes_received.value(), 10u);
    };
    in_world(body);
}

TEST_P(tcp_info_test, a_listener_shows_who_waits_and_how_many_may) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0), {.backlog = 5});
        EXPECT_EQ(listener.queue().waiting, 0u);
        EXPECT_EQ(listener.queue().limit, 5u);
        std::vector<net::tcp_stream> clients;
        for (unsigned wait = 1; wait <= 6; ++wait) {
            clients.push_back(co_await net::tcp_stream::connect(listener.local_endpoint()));
            // A client is connected before the last step of its handshake has come.
            co_await until([&] { return listener.queue().waiting == wait; });
            EXPECT_EQ(listener.queue().is_full(), wait == 6) << "one more than the backlog";
        }
        for (unsigned left = 6; left-- > 0;) {
            const net::tcp_stream taken = co_await listener.accept();
            EXPECT_EQ(listener.queue().waiting, left);
        }
        EXPECT_FALSE(listener.queue().is_full());
    };
    in_world(body);
}

/// In the simulation the latency is the truth that the round trip can be compared with.
TEST(tcp_info_simulation_test, the_round_trip_is_twice_the_latency_on_virtual_time) {
    run_options options = options_for(poller_choice::simulation);
    options.simulation.latency = 20ms;
    const auto body = []() -> task<> {
        stream_pair pair;
        co_await pair.open();
        EXPECT_EQ(pair.near.info().rtt, duration(40ms));
        EXPECT_EQ(pair.near.info().min_rtt, duration(40ms));
        EXPECT_FALSE(pair.near.info().since_data_sent.has_value()) << "nothing was sent yet";
        co_await say(pair.near, "abc");
        EXPECT_EQ(pair.near.info().bytes_sent, 3u);
        EXPECT_EQ(pair.near.info().bytes_acked, 0u) << "on its way";
        co_await hear(pair.far, "abc");
        EXPECT_EQ(pair.near.info().bytes_acked, 3u);
        co_await sleep_for(1s);
        EXPECT_EQ(pair.near.info().since_data_sent, duration(1020ms));
        EXPECT_EQ(pair.far.info().since_data_received, duration(1s));
        pair.near.shutdown_send();
        EXPECT_EQ(pair.near.info().state, net::tcp_state::fin_wait_1);
        co_await sleep_for(100ms);
        EXPECT_EQ(pair.near.info().state, net::tcp_state::fin_wait_2);
        EXPECT_EQ(pair.far.info().state, net::tcp_state::close_wait);
        EXPECT_EQ(pair.far.info().since_ack_received, duration(80ms));
        EXPECT_FALSE(pair.near.info().since_ack_received.has_value());
    };
    run(body(), options);
}

TEST(tcp_state_test, has_the_names_that_the_standard_and_the_tools_use) {
    EXPECT_EQ(net::to_text(net::tcp_state::established), "ESTABLISHED");
    EXPECT_EQ(net::to_text(net::tcp_state::time_wait), "TIME_WAIT");
    EXPECT_EQ(net::to_text(net::tcp_state::close_wait), "CLOSE_WAIT");
    EXPECT_EQ(net::to_text(net::tcp_state::closing), "CLOSING");
    EXPECT_EQ(net::to_text(net::tcp_state{99}), "UNKNOWN");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
