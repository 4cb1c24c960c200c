// serve() at its caps, counted in descriptors: who is beyond the first waits in the kernel's queue.
// No poller accepts ahead.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "net_test_support.hpp"

namespace coro::inline v0::detail::conformance {
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
                group.spawn(serve(server.listener, handler, {.connections = cap}));
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

}  // namespace
}  // namespace coro::inline v0::detail::conformance
