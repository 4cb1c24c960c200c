// framed_connection: a connection that several tasks share, one exchange of messages after another.
#pragma once

#include <utility>

#include <coro/coro.hpp>

struct framed_connection {
    explicit framed_connection(coro::net::stream from) : messages(std::move(from)) {}

    coro::net::framed_stream messages;
    /// Whose turn it is to read, where several tasks use the connection. A task that gives up its
    /// turn before its reply has come leaves that to the next one: close the connection then.
    coro::mutex replies;
};
