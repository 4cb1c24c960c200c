// Every function that takes a span of time, with every span at the ends: the same meaning
// everywhere. The options of a server are in unit/service/server_spans_test.cpp.
#include <optional>
#include <string>

#include <coro/net/tcp.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/runtime/with_cleanup.hpp>

#include "support/extreme_spans.hpp"
#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::task;

class spans_test : public core_test {};

/// What came of an hour's work under a limit: whether it ended, and after how long.
struct outcome {
    bool finished;
    coro::duration took;
};

/// Runs `limited(span)`, a task that ends early when its limit passes, for each span.
template <typename Limited>
void expect_same_meaning(Limited limited) {
    for_each_extreme_span([&](const char* name, auto span, span_meaning meaning) {
        SCOPED_TRACE(name);
        std::optional<outcome> seen;
        const auto body = [&]() -> task<> {
            const coro::time_point start = coro::now();
            bool finished = true;
            try {
                finished = co_await limited(span);
            } catch (const coro::io_error& error) {
                EXPECT_EQ(error.code(), coro::errc::deadline_exceeded);
                finished = false;
            }
            const coro::duration took = coro::now() - start;
            seen.emplace(outcome{finished, took});
        };
        simulate(body());
        ASSERT_TRUE(seen.has_value());
        const bool no_limit = meaning == span_meaning::no_limit;
        EXPECT_EQ(seen->finished, no_limit);
        EXPECT_EQ(seen->took, no_limit ? 1h : 0h);
    });
}

TEST_F(spans_test, sleep_for) {
    // It is the span that is tried, so the hour is the limit here.
    expect_same_meaning([](auto span) -> task<bool> {
        const bool woke = co_await coro::move_on_after(1h, coro::sleep_for(span));
        co_return !woke;
    });
}

TEST_F(spans_test, sleep_until_now_plus_the_span) {
    expect_same_meaning([](auto span) -> task<bool> {
        const bool woke =
            co_await coro::move_on_after(1h, coro::sleep_until(coro::now() + span));
        co_return !woke;
    });
}

TEST_F(spans_test, with_timeout) {
    expect_same_meaning([](auto span) -> task<bool> {
        co_await coro::with_timeout(span, coro::sleep_for(1h));
        co_return true;
    });
}

TEST_F(spans_test, with_deadline_now_plus_the_span) {
    expect_same_meaning([](auto span) -> task<bool> {
        co_await coro::with_deadline(coro::now() + span, coro::sleep_for(1h));
        co_return true;
    });
}

TEST_F(spans_test, move_on_after) {
    expect_same_meaning([](auto span) -> task<bool> {
        const bool in_time = co_await coro::move_on_after(span, coro::sleep_for(1h));
        co_return in_time;
    });
}

TEST_F(spans_test, shield) {
    expect_same_meaning([](auto span) -> task<bool> {
        co_await coro::shield(coro::sleep_for(1h), span);
        co_return true;
    });
}

TEST_F(spans_test, with_cleanup) {
    expect_same_meaning([](auto span) -> task<bool> {
        const auto nothing = []() -> task<> { co_return; };
        const auto clean = []() -> task<> { co_await coro::sleep_for(1h); };
        co_await coro::with_cleanup(nothing, clean, span);
        co_return true;
    });
}

TEST_F(spans_test, close_gracefully) {
    // The peer closes after an hour.
    expect_same_meaning([](auto span) -> task<bool> {
        auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
        const auto where = listener.local_endpoint();
        auto client = co_await coro::net::tcp_stream::connect(where);
        auto server = co_await listener.accept();
        bool closed_by_peer = false;
        const auto body = [&](coro::task_group& group) -> task<> {
            group.spawn([](coro::net::tcp_stream& peer, bool& closed) -> task<> {
                co_await coro::sleep_for(1h);
                peer.close();
                closed = true;
            }, std::ref(server), std::ref(closed_by_peer));
            co_await client.close_gracefully(span);
            group.cancel();
        };
        co_await coro::with_task_group(body);
        co_return closed_by_peer;
    });
}

}  // namespace
}  // namespace coro_test
