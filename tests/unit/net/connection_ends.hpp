// A connection, and the far end of it in memory.
#pragma once

#include <utility>

#include <coro/net/connection.hpp>
#include <coro/net/memory_stream.hpp>

namespace coro_test {

class connection_ends {
public:
    explicit connection_ends(std::pair<coro::net::memory_stream, coro::net::memory_stream> of)
        : near(std::move(of.first)), far(std::move(of.second)) {}
    connection_ends() : connection_ends(coro::net::memory_stream::pair()) {}

    coro::net::connection near;
    coro::net::memory_stream far;
};

}  // namespace coro_test
