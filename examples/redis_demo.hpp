// redis_demo: Redis as pool_demo wants a server.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <coro/coro.hpp>

#include "connection_count.hpp"
#include "redis_connection.hpp"

struct redis_demo {
    struct codec : redis_codec {
        static void check(unsigned number, const redis_reply& reply) {
            if (reply.text() == std::to_string(number)) return;
            throw std::logic_error("a foreign reply: " + std::string(reply.text()));
        }
    };
    static redis_command request(unsigned number) { return {"ECHO", std::to_string(number)}; }

    class connection {
    public:
        connection(coro::net::stream greeted, connection_count& in)
            : inner_(coro::net::connection(std::move(greeted))), mark_(in) {}
        coro::task<> ask(unsigned number) {
            const redis_reply reply = co_await inner_.ask(request(number));
            codec::check(number, reply);
        }
        [[nodiscard]] bool is_clean() const noexcept { return inner_.is_clean(); }
        [[nodiscard]] bool has_input() const noexcept { return inner_.has_input(); }

    private:
        redis_connection inner_;
        counted mark_;
    };

    coro::task<coro::net::stream> greet() const { return connect_redis(server, just_ping()); }
    coro::task<connection> connect(connection_count& in) const {
        co_return connection(co_await greet(), in);
    }

    coro::net::endpoint server;
};
