// framed_connection: a TCP connection that carries messages. Bare TCP carries bytes, and does not
// say where a reply ends.
#pragma once

#include <utility>

#include <coro/coro.hpp>

struct framed_connection {
    explicit framed_connection(coro::net::tcp_stream from) : stream(std::move(from)) {}

    coro::net::tcp_stream stream;
    coro::net::buffered_stream<coro::net::tcp_stream> in{stream};
    coro::net::buffered_writer out{stream};
    coro::net::frames<coro::net::tcp_stream> messages{in, out};
    coro::mutex replies;  ///< whose turn it is to read, where several tasks use the connection
};
