// slow_server: a server of lines for one slow request and three quick ones. It reads on while it
// works, so it knows what has arrived before it answers the slow one.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <coro/coro.hpp>

#include "timeline.hpp"

namespace tcp_truth {

/// Its requests and replies, for a shared connection.
struct line_codec {
    using request = std::string;
    using reply = std::string;
    static void encode(const request& what, std::string& to) { to += what + "\n"; }
    static coro::task<reply> read(coro::net::buffered_stream& from) {
        co_return std::string(co_await from.read_until("\n"));
    }
};

/// What was seen of the four requests.
struct request_log {
    std::size_t connections = 0;
    std::size_t arrived = 0;
    std::size_t arrived_early = 0;     ///< that had arrived when the slow one was answered
    std::vector<std::string> order{};  ///< of the replies, as the client got them
};

/// What the server does before it answers the slow request.
enum class slow_until { time_is_up, all_have_arrived, three_are_answered };

class slow_server {
public:
    explicit slow_server(slow_until when) : when_(when) {}

    coro::task<> serve(coro::net::tcp_stream peer) {
        ++log.connections;
        coro::net::buffered_stream in(peer, {.limit = 1024});
        coro::net::buffered_writer out(peer);
        coro::channel<std::string> lines(16);
        const auto read_all = [&]() -> coro::task<> {
            while (const auto line = co_await in.read_line()) {
                if (++log.arrived == 4) all_arrived_.set();
                co_await lines.send(std::string(*line));
            }
            lines.close();
        };
        const auto answer_all = [&]() -> coro::task<> {
            while (auto line = co_await lines.receive()) {
                if (*line == "slow") co_await work();
                co_await out.write(coro::as_bytes(*line += "\n"));
                co_await out.flush();
            }
        };
        co_await coro::when_all(read_all(), answer_all());
    }
    void was_answered(const std::string& what) {
        log.order.push_back(what);
        if (log.order.size() == 3) three_answered_.set();
    }

    coro::event slow_began;
    request_log log;

private:
    coro::task<> work() {
        using namespace std::chrono_literals;
        slow_began.set();
        if (when_ == slow_until::time_is_up) co_await coro::sleep_for(20ms);
        if (when_ == slow_until::all_have_arrived)
            co_await coro::with_timeout(30s, all_arrived_.wait());
        if (when_ == slow_until::three_are_answered)
            co_await coro::with_timeout(30s, three_answered_.wait());
        log.arrived_early = log.arrived;
    }

    slow_until when_;
    coro::event all_arrived_;
    coro::event three_answered_;
};

/// The client: it asks the server that listens there.
using way_of_asking = coro::task<>(coro::net::endpoint where, slow_server& server, timeline& line);

inline coro::task<request_log> serve_while_asking(slow_until when, timeline& line,
                                                  way_of_asking* ask) {
    slow_server server(when);
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    const auto handler = [&](coro::net::tcp_stream peer) { return server.serve(std::move(peer)); };
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn(coro::serve(listener, handler));
        co_await ask(listener.local_endpoint(), server, line);
        group.request_stop();
    });
    co_return server.log;
}
inline request_log ask_slow_server(slow_until when, timeline& line, way_of_asking* ask) {
    return coro::run(serve_while_asking(when, line, ask));
}

}  // namespace tcp_truth
