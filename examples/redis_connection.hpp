// redis_connection: a connection to Redis that one task uses at a time, and the connector of a
// pool.
#pragma once

#include <coro/coro.hpp>
#include <coro/net/connection.hpp>
#include <coro/net/detached_connection.hpp>

#include <string>
#include <utility>
#include <vector>

#include "redis_codec.hpp"

/// What a connection begins with, if there is no AUTH, SELECT or CLIENT SETNAME to be said. The
/// reply shows that the server takes one more client, and has loaded its data.
inline std::vector<redis_command> just_ping() { return {{"PING"}}; }

/// A stream on which the greeting has been answered; also for with_shared_connection.
/// Throws: redis_error, if Redis refuses a command of it.
inline coro::task<coro::net::stream> connect_redis(coro::net::endpoint server,
                                                   std::vector<redis_command> greeting) {
    coro::net::stream made = co_await coro::net::tcp_stream::connect(server);
    coro::net::buffered_stream in(made);
    for (const redis_command& each : greeting) {
        std::string bytes;
        redis_codec::encode(each, bytes);
        co_await coro::net::write_all(made, coro::as_bytes(bytes));
        const redis_reply reply = co_await redis_codec::read(in, &made);
        if (reply.is_error())
            throw redis_error("greet " + made.describe() + ": " + std::string(reply.text()));
    }
    co_return made;
}

/// For coro::connection_pool, whose redis_connector is below.
class redis_connection {
public:
    explicit redis_connection(coro::net::connection over) noexcept : wire_(std::move(over)) {}

    coro::task<redis_reply> ask(redis_command what) {
        std::string bytes;
        redis_codec::encode(what, bytes);
        due_ = true;
        co_await wire_.out.write(coro::as_bytes(bytes));
        co_await wire_.out.flush();
        redis_reply reply = co_await redis_codec::read(wire_.in, &wire_.stream);
        due_ = false;
        co_return reply;
    }
    /// Nobody's reply is still to come, and no byte is left.
    [[nodiscard]] bool is_clean() const noexcept { return !due_ && wire_.is_clean(); }
    [[nodiscard]] bool has_input() const noexcept { return wire_.stream.has_input(); }

    /// The way to another loop.
    struct detached {
        redis_connection attach() { return redis_connection(wire.attach()); }
        coro::net::detached_connection wire;
    };
    detached detach() && { return {coro::net::detached_connection(std::move(wire_))}; }

private:
    coro::net::connection wire_;
    bool due_ = false;
};

class redis_connector {
public:
    explicit redis_connector(coro::net::endpoint server,
                             std::vector<redis_command> greeting = just_ping())
        : server_(server), greeting_(std::move(greeting)) {}

    /// The connector of a shared connection.
    coro::task<coro::net::stream> stream() const { return connect_redis(server_, greeting_); }
    coro::task<redis_connection> operator()() const {
        co_return redis_connection(coro::net::connection(co_await stream()));
    }
    coro::task<bool> validate(redis_connection& of) const {
        redis_command ping = just_ping().front();  // braces in a co_await are too much for g++ 12
        const redis_reply reply = co_await of.ask(std::move(ping));
        co_return !reply.is_error();
    }
    bool clean(redis_connection& of) const { return of.is_clean(); }

private:
    coro::net::endpoint server_;
    std::vector<redis_command> greeting_;
};
