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
    coro::net::framed_stream<coro::net::tcp_stream> messages{in, out};
    /// Whose turn it is to read, where several tasks use the connection. A task that gives up its
    /// turn before its reply has come leaves that to the next one: close the connection then.
    coro::mutex replies;
};
