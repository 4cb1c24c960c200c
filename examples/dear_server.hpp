// dear_server: a server of lines whose connections are dear, as those of databases are: a greeting
// of some round trips, a wait before the last one, and a limit. And its client.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <coro/coro.hpp>
#include <coro/net/connection.hpp>

#include "connection_count.hpp"

struct dear_costs {
    coro::duration handshake{};  ///< the wait before a connection is ready
    unsigned round_trips = 1;    ///< of the greeting, at least 1
    coro::duration service{};    ///< of a request; those of one connection are served in turn
    std::size_t limit = 100;     ///< connections; the next client is refused

    [[nodiscard]] std::string in_words() const {
        using milliseconds = std::chrono::duration<double, std::milli>;
        char text[200];
        std::snprintf(text, sizeof text,
                      "a server with a greeting of %u round trips and %g ms, %g ms for a request, "
                      "and at most %zu connections",
                      round_trips, milliseconds(handshake).count(), milliseconds(service).count(),
                      limit);
        return text;
    }
};

inline coro::task<> serve_dear_client(coro::net::tcp_stream peer, const dear_costs& costs) {
    coro::net::buffered_stream in(peer, {.limit = 1024});
    coro::net::buffered_writer out(peer);
    for (unsigned i = 1; i <= costs.round_trips; ++i) {
        if (!co_await in.read_line()) co_return;
        if (i == costs.round_trips) co_await coro::sleep_for(costs.handshake);
        co_await out.write(coro::as_bytes("welcome\n"));
    }
    while (const auto line = co_await in.read_line()) {
        const std::string reply = std::string(*line) + "\n";
        if (costs.service > coro::duration::zero()) co_await coro::sleep_for(costs.service);
        co_await out.write(coro::as_bytes(reply));
    }
}

/// Says where it listens, and serves on the loop on which it was called.
inline coro::task<> serve_dearly(const dear_costs& costs,
                                 coro::channel<coro::net::endpoint>& where) {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    co_await where.send(listener.local_endpoint());
    const auto handler = [&costs](coro::net::tcp_stream peer) {
        return serve_dear_client(std::move(peer), costs);
    };
    const coro::server_limits limits{
        .connections = costs.limit, .idle = coro::duration::max(), .refusals = 1'000};
    co_await coro::serve(listener, handler,
                         {.limits = limits, .spread = false, .refusal = "refused\n"});
}

/// Requests are numbers, and so are their replies: a foreign one is noticed.
struct dear_codec {
    using request = unsigned;
    using reply = std::string;

    static void encode(unsigned number, std::string& to) { to += std::to_string(number) + "\n"; }
    static coro::task<std::string> read(coro::net::buffered_stream& from) {
        co_return std::string(co_await from.read_until("\n"));
    }
    static void check(unsigned number, const std::string& reply) {
        if (reply == std::to_string(number) + "\n") return;
        throw std::logic_error("request " + std::to_string(number) + ": a foreign reply, " + reply);
    }
};

/// A connection that one task uses at a time.
class dear_connection {
public:
    dear_connection(coro::net::stream greeted, connection_count& in)
        : wire_(std::move(greeted)), mark_(in) {}

    coro::task<> ask(unsigned number) {
        std::string line;
        dear_codec::encode(number, line);
        co_await wire_.out.write(coro::as_bytes(line));
        co_await wire_.out.flush();
        const std::string reply = co_await dear_codec::read(wire_.in);
        dear_codec::check(number, reply);
    }
    [[nodiscard]] bool is_clean() const noexcept { return wire_.is_clean(); }
    [[nodiscard]] bool has_input() const noexcept { return wire_.stream.has_input(); }

private:
    coro::net::connection wire_;
    counted mark_;
};

/// The client's side, as pool_demo wants it of a server.
struct dear_client {
    using connection = dear_connection;
    using codec = dear_codec;
    static unsigned request(unsigned number) { return number; }

    /// A stream on which the greeting is over.
    coro::task<coro::net::stream> greet() const {
        coro::net::stream made = co_await coro::net::tcp_stream::connect(server);
        coro::net::buffered_stream in(made);
        for (unsigned i = 0; i < costs.round_trips; ++i) {
            co_await coro::net::write_all(made, coro::as_bytes("hello\n"));
            if (co_await in.read_until("\n") == "welcome\n") continue;
            throw coro::io_error(std::make_error_code(std::errc::connection_refused), "greet",
                                 made.describe());
        }
        co_return made;
    }
    coro::task<dear_connection> connect(connection_count& in) const {
        co_return dear_connection(co_await greet(), in);
    }

    coro::net::endpoint server;
    dear_costs costs;
};
