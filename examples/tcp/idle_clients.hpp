// idle_clients: clients that connect and say nothing, and what the tasks that serve them take.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <utility>
#include <vector>

#include <coro/coro.hpp>

#include "proc_figures.hpp"
#include "raw_socket.hpp"

namespace tcp_truth {

inline std::vector<raw_socket> connect_clients(std::size_t count, address server) {
    std::vector<raw_socket> clients(count);
    for (const raw_socket& each : clients)
        each.connect(server);
    return clients;
}

/// The memory of this program for a task that waits for its client, in bytes.
inline coro::task<std::size_t> serve_idle_clients(std::size_t count) {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    const auto wait = [](coro::net::tcp_stream peer) -> coro::task<> {
        std::array<std::byte, 1> byte;
        while (co_await peer.read_some(byte) != 0) {
        }
    };
    coro::server_control control;
    std::size_t bytes = 0;
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn(coro::serve(listener, wait, {.control = &control}));
        const std::size_t before = resident_bytes();
        const auto clients = connect_clients(count, {listener.local_endpoint().port()});
        while (control.stats().active < count)
            co_await coro::sleep_for(std::chrono::milliseconds(1));
        bytes = (resident_bytes() - before) / count;
        group.request_stop();
    });
    co_return bytes;
}
inline std::size_t measure_task(std::size_t count) {
    return coro::run(serve_idle_clients(count), {.poller = coro::poller_choice::epoll});
}

}  // namespace tcp_truth
