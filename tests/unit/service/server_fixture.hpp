// What the tests of serve and its guardian share: a server beside a client.
#pragma once

#include <array>
#include <cstddef>
#include <functional>

#include <coro/runtime/task_group.hpp>
#include <coro/service/server.hpp>

namespace coro_test::server_tests {

namespace net = coro::net;

inline constexpr coro::duration none = coro::duration::max();

/// Runs `client(where)` beside a server with that handler, and then stops it.
template <typename Handler, typename Client>
coro::task<> beside(Handler& handler, coro::serve_options options, Client& client) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const auto body = [&](coro::task_group& group) -> coro::task<> {
        group.spawn(coro::serve(listener, std::ref(handler), options));
        co_await client(listener.local_endpoint());
        group.request_stop();
    };
    co_await coro::with_task_group(body);
}

inline coro::task<> read_until_end(net::tcp_stream& from) {
    std::array<std::byte, 4096> into{};
    while (co_await from.read_some(into) != 0) {}
}

}  // namespace coro_test::server_tests
