// The spans in the options of a server, at the ends of what can be said.
#include <coro/service/server.hpp>

#include <array>
#include <functional>

#include <coro/net/exact.hpp>
#include <coro/runtime/timeout.hpp>

#include "support/extreme_spans.hpp"
#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::task;

class server_spans_test : public core_test {};

/// What came of a client that sends one byte, of which the handler makes an answer.
struct one_visit {
    bool answered = false;     ///< the client had its byte back
    bool handler_cancelled = false;
    coro::duration took{};     ///< until the server had ended
};

task<> handle_slowly(coro::net::tcp_stream peer, one_visit& visit, coro::duration pause) {
    std::array<std::byte, 1> byte{};
    try {
        const std::size_t n = co_await peer.read_some(byte);
        if (n == 0) co_return;
        co_await coro::sleep_for(pause);
        co_await coro::net::write_all(peer, byte);
    } catch (const coro::cancelled&) {
        visit.handler_cancelled = true;
        throw;
    }
}

task<> send_a_byte(coro::net::endpoint to, one_visit& visit, coro::duration silence) {
    auto stream = co_await coro::net::tcp_stream::connect(to);
    co_await coro::sleep_for(silence);
    std::array<std::byte, 1> byte{};
    try {
        co_await coro::net::write_all(stream, byte);
        const std::size_t n = co_await stream.read_some(byte);
        visit.answered = n == 1;
    } catch (const coro::io_error&) {
        visit.answered = false;  // reset: the server had ended the connection
    }
}

/// `silence` before the byte of the client, `pause` of the handler after it.
task<> visit_once(coro::serve_options limits, one_visit& visit, coro::duration silence,
                  coro::duration pause, coro::duration stop_after) {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    const auto where = listener.local_endpoint();
    const auto handler = [&visit, pause](coro::net::tcp_stream peer) {
        return handle_slowly(std::move(peer), visit, pause);
    };
    const auto body = [&](coro::task_group& group) -> task<> {
        group.spawn(send_a_byte, where, std::ref(visit), silence);
        const coro::time_point start = coro::now();
        const auto stopping = [&](coro::task_group& servers) -> task<> {
            servers.spawn(coro::serve(listener, handler, limits));
            co_await coro::sleep_for(stop_after);
            servers.request_stop();
        };
        co_await coro::with_task_group(stopping);
        visit.took = coro::now() - start;
    };
    co_await coro::with_task_group(body);
}

TEST_F(server_spans_test, idle) {
    for_each_extreme_span([](const char* name, auto span, span_meaning meaning) {
        SCOPED_TRACE(name);
        one_visit visit;
        const coro::server_limits limits{.first_byte = coro::duration::max(), .idle = span};
        simulate(visit_once({.limits = limits}, visit, 1h, 0s, 2h));
        EXPECT_EQ(visit.answered, meaning == span_meaning::no_limit);
        EXPECT_FALSE(visit.handler_cancelled) << "an idle connection ends by the end of the stream";
    });
}

TEST_F(server_spans_test, first_byte_and_total) {
    for_each_extreme_span([](const char* name, auto span, span_meaning meaning) {
        SCOPED_TRACE(name);
        const coro::duration none = coro::duration::max();
        for (const coro::duration idle : {none, coro::duration(2h)}) {
            one_visit first;
            simulate(visit_once({.limits = {.first_byte = span, .idle = idle}}, first, 1h, 0s, 2h));
            EXPECT_EQ(first.answered, meaning == span_meaning::no_limit);
            one_visit total;
            const coro::server_limits limits{.first_byte = none, .idle = idle, .total = span};
            simulate(visit_once({.limits = limits}, total, 1h, 0s, 2h));
            EXPECT_EQ(total.answered, meaning == span_meaning::no_limit);
        }
    });
}

TEST_F(server_spans_test, drain) {
    for_each_extreme_span([](const char* name, auto span, span_meaning meaning) {
        SCOPED_TRACE(name);
        one_visit visit;
        const coro::server_limits limits{.idle = coro::duration::max(), .drain = span};
        simulate(visit_once({.limits = limits}, visit, 0s, 1h, 1s));
        const bool no_limit = meaning == span_meaning::no_limit;
        EXPECT_EQ(visit.answered, no_limit);
        EXPECT_EQ(visit.handler_cancelled, !no_limit);
        if (no_limit) EXPECT_GE(visit.took, 1h);
        else EXPECT_LT(visit.took, 2s);
    });
}

}  // namespace
}  // namespace coro_test
