// line_service: a server that answers each line of its clients with a text, one after another.
#pragma once

#include <coro/coro.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>

#include <chrono>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>

#include "printable.hpp"

using line_answer = std::function<coro::task<std::string>(std::string line)>;

/// Whatever the answer throws is told to the client as `error: …`, and the next line is read.
inline coro::task<> answer_lines(coro::net::tcp_stream peer, const line_answer& answer) {
    coro::net::buffered_stream in(peer, {.limit = 256 * 1024});
    coro::net::buffered_writer out(peer);
    for (;;) {
        const auto line = co_await coro::until_stop(in.read_line());
        if (!line || !*line) break;  // a stop was requested, or the end of the stream
        std::string reply;
        try {
            reply = co_await answer(std::string(**line));
        } catch (const std::exception& error) {
            reply = "error: " + printable(error.what());
        }
        reply += '\n';
        co_await out.write(coro::as_bytes(reply));
    }
    co_await out.flush();
}

/// Answers that are under way at a stop have up to two seconds.
inline coro::task<> serve_lines(coro::net::endpoint where, line_answer answer) {
    auto listener = coro::net::tcp_listener::bind(where);
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());
    std::fflush(stdout);
    const auto handler = [&answer](coro::net::tcp_stream peer) {
        return answer_lines(std::move(peer), answer);
    };
    // Longer than any --timeout: an answer may take so long, and people type.
    const coro::server_limits limits{.connections = 1'000,
                                     .first_byte = std::chrono::hours(2),
                                     .idle = std::chrono::hours(2),
                                     .drain = std::chrono::seconds(2)};
    co_await coro::serve(listener, handler, {.limits = limits});
}
