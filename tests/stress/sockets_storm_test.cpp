// Connections on their way from loop to loop: streams that are bound again and again, servers that
// hand over while they are stopped or cancelled. Short; the thread sanitizer looks.
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <coro/coro.hpp>
#include <coro/runtime/loop_handle.hpp>

#include "conformance/net_test_support.hpp"
#include "conformance/poller_test_support.hpp"
#include "stress/race_support.hpp"
#include "stress/storm_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {
namespace {

class sockets_storm : public storm_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, sockets_storm,
                         ::testing::ValuesIn(conformance::real_worlds()),
                         conformance::parameter_name);

// --- rebind

/// Works here once, and goes on on the next loop.
task<> travel(net::tcp_stream stream, unsigned hops, std::atomic<unsigned>& arrived) {
    co_await stream.rebind();
    arrived.fetch_add(1);
    co_await conformance::say(stream, "ping");
    co_await conformance::hear(stream, "ping");
    if (hops == 0) co_return;
    const unsigned next = (loop_index() + 1) % loop_count();
    const auto in_group = [&](task_group& group) -> task<> {
        group.spawn({.loop = next}, travel, std::move(stream), hops - 1, std::ref(arrived));
        co_return;
    };
    co_await with_task_group(in_group);
}

/// Some travel to their end; every third traveller is cancelled somewhere on the way.
TEST_P(sockets_storm, streams_travel_from_loop_to_loop) {
    constexpr unsigned hops = 12;
    std::atomic<unsigned> arrived{0};
    unsigned whole = 0;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        dice random(5);
        for (unsigned round = 0; round < 90; ++round) {
            net::tcp_stream near = co_await net::tcp_stream::connect(listener.local_endpoint());
            net::tcp_stream far = co_await listener.accept();
            const bool is_cut = round % 3 == 0;
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(conformance::echo, std::move(far));
                co_await travel(std::move(near), hops, arrived);
            };
            const duration patience = is_cut ? random.up_to(600us) : duration(1min);
            const auto trip = [&]() -> task<> { co_await with_task_group(in_group); };
            // The echo may be cut off in the middle of an answer.
            const auto how = co_await as_result(move_on_after(patience, trip()));
            if (!is_cut && how.has_value() && *how) ++whole;
        }
    };
    storm(body);
    EXPECT_EQ(whole, 60u);
    EXPECT_GE(arrived.load(), whole * (hops + 1));
}

// --- serve

struct client_counts {
    std::atomic<unsigned> answered{0};
    std::atomic<unsigned> lost{0};
};

/// Connects, says a line and wants it back, until nobody listens.
void connect_until_refused(net::endpoint where, client_counts& counts) {
    const socket_address to = conformance::ipv4_address(where.port());
    for (;;) {
        const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const auto* const address = reinterpret_cast<const sockaddr*>(to.bytes.data());
        const bool connected = ::connect(client, address, to.size) == 0;
        std::array<char, 4> back{};
        const bool heard = connected && ::send(client, "ping", 4, MSG_NOSIGNAL) == 4 &&
                           ::recv(client, back.data(), 4, MSG_WAITALL) == 4;
        if (connected) (heard ? counts.answered : counts.lost).fetch_add(1);
        const linger reset{1, 0};  // no TIME_WAIT: a port each would be used up
        ::setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        ::close(client);
        if (!connected) return;
    }
}

task<> end_somehow(unsigned round, std::atomic<unsigned>& handled, task_group& group) {
    while (handled.load() < 30) co_await sleep_for(200us);
    co_await sleep_for(dice(round).up_to(1ms));
    if (round % 3 == 0) group.request_stop();
    else group.cancel();
}

TEST_P(sockets_storm, servers_end_while_they_hand_connections_over) {
    client_counts counts;
    // Who is cut off may reset, which is reported, by several loops at once.
    set_report_hook([](const report_event&, void*) noexcept {}, nullptr);
    for (unsigned round = 0; round < 24; ++round) {
        std::vector<std::thread> clients;
        std::atomic<unsigned> handled{0};
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            for (int i = 0; i < 2; ++i)
                clients.emplace_back(connect_until_refused, listener.local_endpoint(),
                                     std::ref(counts));
            const auto handler = [&](net::tcp_stream peer) -> task<> {
                handled.fetch_add(1);
                co_await conformance::echo(std::move(peer));
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, handler));
                co_await end_somehow(round, handled, group);
            };
            co_await with_task_group(in_group);
        };
        storm(body);
        for (std::thread& one : clients) one.join();
        EXPECT_GE(handled.load(), 30u);
    }
    set_report_hook(nullptr, nullptr);
    EXPECT_GE(counts.answered.load(), 24u);
    std::printf("%u answered, %u lost\n", counts.answered.load(), counts.lost.load());
}

}  // namespace
}}}  // namespace coro::v0::detail::stress
