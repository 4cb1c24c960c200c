// What the tests of buffered streams share: a world, a connected pair, small pieces of scaffolding.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include <coro/core/task.hpp>
#include <coro/net/exact.hpp>
#include <coro/net/tcp.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/stats.hpp>

namespace coro::net::stream_tests {

/// Not an aggregate: g++ 12 may destroy a temporary aggregate twice.
class stream_pair {
public:
    stream_pair(tcp_stream of_client, tcp_stream of_server) noexcept
        : client(std::move(of_client)), server(std::move(of_server)) {}

    tcp_stream client;
    tcp_stream server;
};

/// Both ends of a connection over loopback. `buffer_bytes` != 0: that much fits in each socket.
inline task<stream_pair> connected_pair(std::size_t buffer_bytes = 0) {
    listen_options listening;
    connect_options connecting;
    if (buffer_bytes != 0) {
        listening.accepted.receive_buffer_bytes = buffer_bytes;
        listening.accepted.send_buffer_bytes = buffer_bytes;
        connecting.stream = listening.accepted;
    }
    tcp_listener listener = tcp_listener::bind(endpoint::loopback(0), listening);
    tcp_stream client = co_await tcp_stream::connect(listener.local_endpoint(), connecting);
    tcp_stream server = co_await listener.accept();
    co_return stream_pair(std::move(client), std::move(server));
}

/// Resumes in a later turn of the loop; yield() resumes in this one.
inline task<> next_turn() { co_await sleep_for(std::chrono::microseconds(1)); }

inline void expect_nothing_left() {
    const loop_stats left = current_loop_stats();
    EXPECT_EQ(left.leases, 0u) << "a lease leaked";
    EXPECT_EQ(left.operations, 0u) << "an operation leaked";
    EXPECT_EQ(left.sockets, 0u) << "a socket leaked";
}

/// Runs `body(pair)` in `world`, and then looks that nothing is left.
template <typename Body>
void with_pair(Body body, poller_choice world = poller_choice::simulation,
               std::size_t buffer_bytes = 0) {
    const auto scenario = [&]() -> task<> {
        {
            stream_pair pair = co_await connected_pair(buffer_bytes);
            co_await body(pair);
        }
        // What was closed with an operation pending goes at its completion, a transport at the end
        // of a turn.
        const auto is_something_left = [] {
            const loop_stats now = current_loop_stats();
            return now.operations != 0 || now.sockets != 0;
        };
        for (int turn = 0; turn < 100 && is_something_left(); ++turn) co_await next_turn();
        expect_nothing_left();
    };
    run_options options;
    options.poller = world;
    options.strict = world != poller_choice::automatic;
    run(scenario(), options);
}

inline task<> send_text(tcp_stream& to, std::string_view text) {
    co_await write_all(to, as_bytes(text));
}

/// Everything until the end of the stream.
inline task<std::string> receive_all(tcp_stream& from) {
    std::string all;
    for (;;) {
        const read_lease lease = co_await from.read_leased();
        if (lease.empty()) break;
        all += as_text(lease.bytes());
    }
    co_return all;
}

inline task<std::string> receive_exactly(tcp_stream& from, std::size_t count) {
    std::string all(count, '\0');
    co_await read_exact(from, std::as_writable_bytes(std::span(all)));
    co_return all;
}

inline std::string text_of(const_bytes bytes) { return std::string(as_text(bytes)); }

/// A small generator, the same on every machine.
class random_source {
public:
    explicit random_source(std::uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15u + 1) {}

    std::uint64_t next() noexcept {
        std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15u;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        return mixed ^ (mixed >> 31);
    }
    /// 0 .. below-1
    std::size_t below(std::size_t limit) noexcept { return next() % limit; }
    bool chance(std::size_t one_in) noexcept { return below(one_in) == 0; }

private:
    std::uint64_t state_;
};

/// The io_error that awaiting `make()` throws; fails the test when there is none.
template <typename Make>
task<std::optional<io_error>> error_of(Make make) {
    try {
        (void)co_await make();
    } catch (const io_error& error) {
        co_return error;
    }
    ADD_FAILURE() << "an error was expected";
    co_return std::nullopt;
}

inline void expect_error(const std::optional<io_error>& error, errc code, std::string_view verb,
                         std::size_t bytes) {
    ASSERT_TRUE(error.has_value());
    EXPECT_EQ(error->code(), code);
    EXPECT_EQ(std::string_view(error->operation()), verb);
    EXPECT_EQ(error->bytes_transferred(), bytes);
}

}  // namespace coro::net::stream_tests
