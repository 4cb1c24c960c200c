// The census of sockets and the counters of the namespace, compared with sockets of the test's own.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "child_process.hpp"
#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using net::tcp_state;

class socket_census_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, socket_census_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// The sockets among `all` that have `local` and `remote`.
std::vector<net::tcp_socket> between(const std::vector<net::tcp_socket>& all, net::endpoint local,
                                     net::endpoint remote) {
    std::vector<net::tcp_socket> found;
    std::ranges::copy_if(all, std::back_inserter(found), [&](const net::tcp_socket& each) {
        return each.local == local && each.remote == remote;
    });
    return found;
}

/// Asks until there is exactly one between `local` and `remote`: states change in their own time.
task<net::tcp_socket> only_one(net::tcp_states which, net::endpoint local, net::endpoint remote) {
    for (;;) {
        const auto found = between(net::list_tcp_sockets(which), local, remote);
        if (found.size() == 1) co_return found.front();
        co_await sleep_for(1ms);
    }
}

TEST_P(socket_census_test, lists_a_connection_with_its_ends_and_queues) {
    for (const net::endpoint where : {net::endpoint::loopback(0), net::endpoint::loopback_v6(0)}) {
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(where, {.backlog = 7});
            const auto near = co_await net::tcp_stream::connect(listener.local_endpoint());
            const net::tcp_socket waiting =
                co_await only_one(tcp_state::listening, listener.local_endpoint(),
                                  where.with_port(0) == net::endpoint::loopback(0)
                                      ? net::endpoint::any(0)
                                      : net::endpoint::any_v6(0));
            EXPECT_EQ(waiting.send_queue, 7u);
            auto far = co_await listener.accept();
            auto writer = std::move(far);
            co_await say(writer, "unread");
            net::tcp_socket seen;
            do {
                seen = co_await only_one(tcp_state::established, near.local_endpoint(),
                                         near.remote_endpoint());
            } while (seen.receive_queue != 6);
            EXPECT_EQ(seen.uid, ::getuid());
            EXPECT_NE(seen.inode, 0u);
            EXPECT_FALSE(seen.ends_in.has_value());
            EXPECT_FALSE(seen.close_wait_at_least.has_value());
        };
        in_world(body);
    }
}

TEST_P(socket_census_test, tells_how_old_a_close_wait_is_and_what_is_left_of_a_time_wait) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        auto client = co_await net::tcp_stream::connect(listener.local_endpoint());
        auto server = co_await listener.accept();
        const net::endpoint ours = client.local_endpoint();
        const net::endpoint theirs = listener.local_endpoint();
        const time_point before = now();
        client.shutdown_send();
        co_await sleep_for(30ms);
        const net::tcp_socket left = co_await only_one(tcp_state::close_wait, theirs, ours);
        // The kernel counts in ticks, of 1 to 10 ms.
        EXPECT_GE(left.close_wait_at_most.value(), 10ms);
        EXPECT_LE(left.close_wait_at_least.value(), now() - before + 20ms);
        EXPECT_LE(left.close_wait_at_least.value(), left.close_wait_at_most.value());
        EXPECT_NE(left.inode, 0u);
        server.close();
        client.close();
        const net::tcp_socket over = co_await only_one(tcp_state::time_wait, ours, theirs);
        EXPECT_GT(over.ends_in.value(), duration::zero());
        EXPECT_LE(over.ends_in.value(), 61s);
        EXPECT_EQ(over.inode, 0u) << "no process has it";
        EXPECT_FALSE(over.uid.has_value()) << "the kernel has forgotten who made it";
        EXPECT_TRUE(between(net::list_tcp_sockets_of(::getpid()), ours, theirs).empty());
    };
    in_world(body);
}

TEST_P(socket_census_test, counts_the_sockets_of_a_process) {
    const auto body = [&]() -> task<> {
        const net::tcp_census before = net::count_tcp_sockets_of(::getpid());
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        std::vector<net::tcp_stream> streams;
        for (int i = 0; i < 10; ++i) {
            streams.push_back(co_await net::tcp_stream::connect(listener.local_endpoint()));
            streams.push_back(co_await listener.accept());
        }
        const net::tcp_census after = net::count_tcp_sockets_of(::getpid());
        EXPECT_EQ(after.of(tcp_state::established), before.of(tcp_state::established) + 20);
        EXPECT_EQ(after.of(tcp_state::listening), before.of(tcp_state::listening) + 1);
        EXPECT_EQ(after.of(tcp_state::time_wait), 0u);
        EXPECT_GE(net::count_tcp_sockets().of(tcp_state::established), 20u);
        EXPECT_GE(net::count_tcp_sockets().total(), after.total());
        EXPECT_EQ(net::list_tcp_sockets_of(::getpid(), tcp_state::listening).size(),
                  after.of(tcp_state::listening));
    };
    in_world(body);
}

TEST_P(socket_census_test, another_process_has_sockets_of_its_own) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        std::array<int, 2> done{};
        EXPECT_EQ(::pipe(done.data()), 0);
        const pid_t child = ::fork();
        if (child == 0) {
            // It has the listener, not what its parent opens later, and ends when the pipe does.
            ::close(done[1]);
            char byte = 0;
            [[maybe_unused]] const ssize_t end = ::read(done[0], &byte, 1);
            ::_exit(0);
        }
        ::close(done[0]);
        const auto listens = [&](const net::tcp_socket& each) { return each.local == where; };
        EXPECT_EQ(std::ranges::count_if(net::list_tcp_sockets_of(child), listens), 1);
        auto later = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint only_ours = later.local_endpoint();
        const auto is_later = [&](const net::tcp_socket& each) { return each.local == only_ours; };
        EXPECT_EQ(std::ranges::count_if(net::list_tcp_sockets_of(::getpid()), is_later), 1);
        EXPECT_EQ(std::ranges::count_if(net::list_tcp_sockets_of(child), is_later), 0);
        EXPECT_EQ(net::count_tcp_sockets_of(child).of(tcp_state::time_wait), 0u);
        ::close(done[1]);
        int status = 0;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        co_return;
    };
    in_world(body);
}

TEST_P(socket_census_test, the_counters_count_what_happens) {
    const auto body = [&]() -> task<> {
        const net::tcp_counts before = net::tcp_counters();
        EXPECT_TRUE(before.listen_overflows.has_value());
        EXPECT_TRUE(before.listen_drops.has_value());
        EXPECT_TRUE(before.time_waits.has_value());
        EXPECT_TRUE(before.syn_queue_drops.has_value());
        EXPECT_TRUE(before.syncookies_sent.has_value());
        EXPECT_TRUE(before.memory_pages.has_value());
        {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            auto near = co_await net::tcp_stream::connect(listener.local_endpoint());
            auto far = co_await listener.accept();
            EXPECT_GE(net::tcp_counters().established.value(), 2u);
            far.abort();
            std::array<std::byte, 1> byte{};
            EXPECT_FALSE((co_await as_result(near.read_some(byte))).has_value());

            auto closes_first = co_await net::tcp_stream::connect(listener.local_endpoint());
            auto closes_second = co_await listener.accept();
            closes_first.close();
            EXPECT_EQ(co_await closes_second.read_some(byte), 0u);
            closes_second.close();
        }
        while (net::tcp_counters().time_waits_entered.value() <= before.time_waits_entered.value())
            co_await sleep_for(1ms);
        const net::tcp_counts after = net::tcp_counters();
        EXPECT_GE(after.active_opens.value(), before.active_opens.value() + 1);
        EXPECT_GE(after.passive_opens.value(), before.passive_opens.value() + 1);
        EXPECT_GE(after.segments_sent.value(), before.segments_sent.value() + 3);
        EXPECT_GE(after.resets_sent.value(), before.resets_sent.value() + 1);
        EXPECT_GE(after.reset_connections.value(), before.reset_connections.value() + 1);
        EXPECT_GE(net::tcp_counters_of(::getpid()).active_opens.value(),
                  after.active_opens.value());
    };
    in_world(body);
}

/// A client beyond the queue meets silence, which the counters tell of.
TEST_P(socket_census_test, the_counters_count_a_client_that_found_the_queue_full) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0), {.backlog = 1});
        std::vector<net::tcp_stream> waiting;
        while (!listener.queue().is_full()) {
            waiting.push_back(co_await net::tcp_stream::connect(listener.local_endpoint()));
            // It is connected before the last step of its handshake has come to the queue.
            while (listener.queue().waiting != waiting.size()) co_await sleep_for(1ms);
        }
        const net::tcp_counts before = net::tcp_counters();
        const auto late = co_await as_result(
            with_timeout(100ms, net::tcp_stream::connect(listener.local_endpoint())));
        EXPECT_FALSE(late.has_value());
        const net::tcp_counts after = net::tcp_counters();
        EXPECT_GE(after.listen_overflows.value(), before.listen_overflows.value() + 1);
        EXPECT_GE(after.listen_drops.value(), before.listen_drops.value() + 1);
        EXPECT_EQ(listener.queue().waiting, 2u);
    };
    in_world(body);
}

TEST(tcp_states_test, is_a_set) {
    constexpr net::tcp_states two = tcp_state::close_wait | tcp_state::time_wait;
    static_assert(two.has(tcp_state::close_wait) && two.has(tcp_state::time_wait));
    static_assert(!two.has(tcp_state::established) && !net::tcp_states().has(tcp_state::closing));
    static_assert((two | tcp_state::listening).has(tcp_state::listening));
    constexpr net::tcp_states all = net::tcp_states::all();
    for (unsigned each = 1; each < net::tcp_states_end; ++each)
        EXPECT_TRUE(all.has(static_cast<tcp_state>(each))) << each;
    EXPECT_EQ(all.bits() & 1u, 0u) << "0 is no state";
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
