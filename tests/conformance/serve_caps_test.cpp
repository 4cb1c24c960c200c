// serve() at its caps, counted in descriptors: who is beyond the first waits in the kernel's queue,
// or is refused with bytes, up to the second. No poller accepts ahead.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class serve_caps_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, serve_caps_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// A client of the kernel's own making, without giving way to the loop.
int connect_at_once(net::endpoint to) {
    const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const socket_address where = to_socket_address(to);
    const auto* const address = reinterpret_cast<const sockaddr*>(where.bytes.data());
    EXPECT_EQ(::connect(made, address, where.size), 0);
    return made;
}

struct capped_server {
    net::tcp_listener listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    net::endpoint where = listener.local_endpoint();
    std::size_t active = 0;
    std::size_t most = 0;
    std::size_t served = 0;

    task<> hold(net::tcp_stream peer) {
        most = std::max(most, ++active);
        co_await read_to_end(peer);
        --active;
        ++served;
    }
};

/// Until the kernel has `waiting` clients in its queue; then some turns more, in which a poller
/// could take them.
task<> until_they_wait(net::endpoint at, std::size_t waiting) {
    while (queue_length(at.port(), waiting) != waiting) co_await sleep_for(1ms);
    for (int turn = 0; turn < 20; ++turn) co_await yield();
    EXPECT_EQ(queue_length(at.port(), waiting), waiting);
}

TEST_P(serve_caps_test, beyond_the_cap_nobody_is_taken_out_of_the_kernels_queue) {
    constexpr std::size_t cap = 10;
    constexpr std::size_t count = 300;
    for (const bool burst : {true, false}) {
        const auto body = [&]() -> task<> {
            capped_server server;
            std::vector<int> clients;
            const auto serving = [&](task_group& group) -> task<> {
                const auto handler = [&](net::tcp_stream peer) -> task<> {
                    return server.hold(std::move(peer));
                };
                group.spawn(serve(server.listener, handler,
                                  {.limits = {.connections = cap, .first_byte = duration::max()}}));
                for (int turn = 0; turn < 20; ++turn) co_await yield();  // an accept is pending
                const std::size_t before = open_descriptors();
                while (clients.size() < count) {
                    clients.push_back(connect_at_once(server.where));
                    if (!burst) co_await yield();
                }
                while (server.active < cap) co_await yield();
                co_await until_they_wait(server.where, count - cap);
                EXPECT_EQ(open_descriptors(), before + count + cap);
                // One goes, one comes, and never a second one.
                for (std::size_t gone = 1; gone <= 40; ++gone) {
                    ::close(clients[gone - 1]);
                    while (server.served < gone || server.active < cap) co_await yield();
                    co_await until_they_wait(server.where, count - cap - gone);
                    EXPECT_EQ(open_descriptors(), before + count + cap - gone);
                }
                for (std::size_t left = 40; left < count; ++left) ::close(clients[left]);
                while (server.served < count) co_await yield();
                group.request_stop();
            };
            co_await with_task_group(serving);
            EXPECT_EQ(server.most, cap);
        };
        in_world(body);
    }
}

task<> accept_one(net::tcp_listener& from) {
    const net::tcp_stream peer = co_await from.accept();
    EXPECT_TRUE(peer);
}

/// The same for whoever writes an accept loop of its own.
TEST_P(serve_caps_test, an_accept_takes_one_and_the_others_wait) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        std::vector<int> clients;
        const auto accepting = [&](task_group& group) -> task<> {
            group.spawn(accept_one, std::ref(listener));
            co_await yield();
            for (int i = 0; i < 100; ++i)
                clients.push_back(connect_at_once(listener.local_endpoint()));
        };
        co_await with_task_group(accepting);
        co_await until_they_wait(listener.local_endpoint(), clients.size() - 1);
        for (const int each : clients) ::close(each);
    };
    in_world(body);
}

// --- refusing

class refusal_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, refusal_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

constexpr std::string_view no_room = "-ERR max number of clients reached\r\n";

struct refusing_server {
    capped_server server;
    std::vector<net::tcp_stream> held;

    /// Runs `body()` beside a server that has as many clients as it serves.
    template <typename Body>
    task<> run(serve_options limits, Body& body) {
        const auto serving = [&](task_group& group) -> task<> {
            const auto handler = [&](net::tcp_stream peer) -> task<> {
                return server.hold(std::move(peer));
            };
            limits.limits.first_byte = duration::max();  // clients are silent
            group.spawn(serve(server.listener, handler, limits));
            while (held.size() < limits.limits.connections)
                held.push_back(co_await net::tcp_stream::connect(server.where));
            while (server.active < limits.limits.connections) co_await sleep_for(1ms);
            co_await body();
            held.clear();
            group.request_stop();
        };
        co_await with_task_group(serving);
        EXPECT_EQ(server.most, limits.limits.connections);
    }
};

TEST_P(refusal_test, who_comes_at_the_cap_reads_why_and_the_end_though_it_was_sending) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        refusing_server all;
        const auto test = [&]() -> task<> {
            for (int i = 0; i < 20; ++i) {
                net::tcp_stream late = co_await net::tcp_stream::connect(all.server.where);
                // Unread input makes a reset of a plain close, which takes the bytes with it.
                co_await say(late, std::string(20'000, 'x'));
                const std::string heard = co_await read_to_end(late);
                EXPECT_EQ(heard, no_room);
            }
            // One goes: the next is served.
            const std::size_t served = all.server.served;
            all.held.pop_back();
            while (all.server.served == served) co_await sleep_for(1ms);
            all.held.push_back(co_await net::tcp_stream::connect(all.server.where));
            while (all.server.active < 2) co_await sleep_for(1ms);
        };
        co_await all.run({.limits = {.connections = 2}, .refusal = no_room}, test);
        EXPECT_TRUE(reports.entries.empty()) << "that a client is refused is no news";
    };
    in_world(body);
}

/// In virtual time only: on a busy machine the two seconds of a refusal may be over at any line.
class refusal_time_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(simulated, refusal_time_test,
                         ::testing::Values(poller_choice::simulation), parameter_name);

TEST_P(refusal_time_test,
       who_does_not_close_holds_up_neither_the_acceptor_nor_those_who_are_served) {
    const auto body = [&]() -> task<> {
        refusing_server all;
        const auto test = [&]() -> task<> {
            // They read nothing and close nothing: all places of the second cap are taken.
            std::vector<net::tcp_stream> silent;
            while (silent.size() < 3)
                silent.push_back(co_await net::tcp_stream::connect(all.server.where));
            for (net::tcp_stream& each : silent) co_await hear(each, no_room);
            const time_point begun = now();
            net::tcp_stream beyond = co_await net::tcp_stream::connect(all.server.where);
            co_await sleep_for(10ms);
            // A place among the served gets free: whoever waits is served, though refusals are not
            // over.
            const std::size_t served = all.server.served;
            all.held.pop_back();
            while (all.server.served == served || all.server.active < 2) co_await sleep_for(1ms);
            all.held.push_back(std::move(beyond));
            EXPECT_LT(now() - begun, 2s);
            // And who comes beyond is told so when the two seconds of the silent ones are over.
            net::tcp_stream last = co_await net::tcp_stream::connect(all.server.where);
            const std::string heard = co_await read_to_end(last);
            EXPECT_EQ(heard, no_room);
            EXPECT_GE(now() - begun, 1900ms);
        };
        co_await all.run({.limits = {.connections = 2, .refusals = 3}, .refusal = no_room}, test);
    };
    in_world(body);
}

TEST_P(refusal_test, a_burst_at_the_cap_is_refused_so_many_at_a_time) {
    const auto body = [&]() -> task<> {
        refusing_server all;
        const auto test = [&]() -> task<> {
            std::vector<net::tcp_stream> burst;
            for (int i = 0; i < 60; ++i)
                burst.push_back(co_await net::tcp_stream::connect(all.server.where));
            for (net::tcp_stream& each : burst) {
                const std::string heard = co_await read_to_end(each);
                EXPECT_EQ(heard, no_room);
                each.close();
            }
        };
        co_await all.run({.limits = {.connections = 1, .refusals = 4}, .refusal = no_room}, test);
    };
    in_world(body);
}

TEST_P(refusal_test, a_stop_does_not_wait_for_who_is_refused_longer_than_the_drain) {
    const auto body = [&]() -> task<> {
        refusing_server all;
        std::vector<net::tcp_stream> silent;
        const auto test = [&]() -> task<> {
            while (silent.size() < 5)
                silent.push_back(co_await net::tcp_stream::connect(all.server.where));
            for (net::tcp_stream& each : silent) co_await hear(each, no_room);
        };
        const time_point begun = now();
        co_await all.run({.limits = {.connections = 1, .drain = 50ms}, .refusal = no_room}, test);
        if (simulated()) {
            EXPECT_LT(now() - begun, 1s);
        }
    };
    in_world(body);
}

TEST_P(refusal_test, refusals_count_among_the_descriptors_that_are_warned_of) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        for (const std::string_view refusal : {std::string_view(), no_room}) {
            refusing_server all;
            const auto test = []() -> task<> { co_return; };
            const server_limits limits{.connections = 1, .refusals = 1u << 31};
            co_await all.run({.limits = limits, .refusal = refusal}, test);
            EXPECT_EQ(reports.entries.size(), refusal.empty() ? 0u : 1u);
        }
        if (reports.entries.empty()) co_return;
        EXPECT_NE(reports.entries[0].text.find("with refusals = 2147483648"), std::string::npos)
            << reports.entries[0].text;
    };
    in_world(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
