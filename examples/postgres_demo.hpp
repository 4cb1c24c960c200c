// postgres_demo: PostgreSQL as pool_demo wants a server. Its sessions are never shared.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include <coro/coro.hpp>

#include "connection_count.hpp"
#include "postgres_connector.hpp"

struct postgres_demo {
    class connection {
    public:
        connection(postgres_connection inner, connection_count& in)
            : inner_(std::move(inner)), mark_(in) {}
        coro::task<> ask(unsigned number) {
            const std::string text = std::to_string(number);
            postgres_values values;
            values.emplace_back(text);
            const postgres_result result = co_await inner_.query("select $1::text", values);
            if (result.at(0, 0) != text) throw std::logic_error("a foreign reply: not " + text);
        }
        [[nodiscard]] bool is_clean() const noexcept { return inner_.is_clean(); }
        [[nodiscard]] bool has_input() const noexcept { return inner_.has_input(); }

    private:
        postgres_connection inner_;
        counted mark_;
    };

    coro::task<connection> connect(connection_count& in) const {
        co_return connection(co_await connector(), in);
    }

    postgres_connector connector;
};
