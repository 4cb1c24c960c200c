// shared_connection while its server is down, or cannot be reached at all.
#include <coro/service/shared_connection.hpp>

#include <functional>
#include <stdexcept>
#include <vector>

#include <coro/runtime/timeout.hpp>

#include "unit/service/shared_fixture.hpp"

namespace coro_test::sharing {
namespace {

class shared_outage_test : public core_test {};

TEST_F(shared_outage_test, while_the_server_is_down_callers_learn_why_and_nobody_storms) {
    server peer;
    std::uint64_t attempts = 0;
    std::vector<coro::duration> waits;
    coro::duration recovery{};
    coro::run([](server& of, std::uint64_t& tried, std::vector<coro::duration>& waited,
                 coro::duration& back) -> task<> {
        const auto body = [&](connection& shared) -> task<> {
            const coro::time_point begin = coro::now();
            co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
                while (coro::now() < begin + 30s) {  // a caller each 50 ms
                    const coro::time_point from = coro::now();
                    outcome ended;
                    co_await ask(shared, 1, ended);
                    EXPECT_EQ(ended.code, std::errc::connection_refused) << ended.error;
                    EXPECT_EQ(ended.error.find("connect tcp 127.0.0.1:7000"), 0u) << ended.error;
                    waited.push_back(coro::now() - from);
                    co_await coro::sleep_for(50ms);
                }
                tried = shared.stats().attempts;
                of.open();
                group.spawn(of.serve_open());
                const coro::time_point up = coro::now();
                for (outcome ended; ended.reply != 1;) {
                    ended = {};
                    co_await ask(shared, 1, ended);
                    if (ended.reply != 1) co_await coro::sleep_for(10ms);
                }
                back = coro::now() - up;
                of.close();
            });
        };
        co_await coro::with_shared_connection<numbers>(connector(), {}, body);
    }(peer, attempts, waits, recovery), {.poller = coro::poller_choice::simulation});
    EXPECT_EQ(waits.front(), coro::duration(1500ms)) << "three attempts, 500 and 1000 ms apart";
    for (std::size_t i = 1; i < waits.size(); ++i) EXPECT_LT(waits[i], coro::duration(1ms)) << i;
    EXPECT_GE(attempts, 15u);
    EXPECT_LE(attempts, 22u);
    EXPECT_LE(recovery, coro::duration(2s));
}

TEST_F(shared_outage_test, without_a_breaker_callers_wait_until_the_server_is_there) {
    server peer;
    int reply = 0;
    coro::run([](server& of, int& got) -> task<> {
        const auto body = [&](connection& shared) -> task<> {
            co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
                outcome patient;
                group.spawn([](connection& by, int& into) -> task<> {
                    into = co_await by.request(5);
                }, std::ref(shared), std::ref(got));
                EXPECT_FALSE(co_await coro::move_on_after(20s, shared.request(4)));
                co_await coro::sleep_for(10s);
                of.open();
                group.spawn(of.serve_open());
                co_await coro::sleep_for(2s);
                of.close();
            });
        };
        co_await coro::with_shared_connection<numbers>(
            connector(), {.breaker_threshold = SIZE_MAX}, body);
    }(peer, reply), {.poller = coro::poller_choice::simulation});
    EXPECT_EQ(reply, 5);
    EXPECT_EQ(peer.got, std::vector{5});
}

TEST_F(shared_outage_test, a_connector_that_hangs_throws_or_returns_nothing_is_an_error) {
    const auto try_one = [](auto connect) {
        outcome ended;
        coro::run([](auto& by, outcome& into) -> task<> {
            const auto body = [&](connection& shared) -> task<> {
                co_await ask(shared, 1, into);
                EXPECT_EQ(shared.stats().attempts, 2u);
            };
            co_await coro::with_shared_connection<numbers>(
                by, {.connect_timeout = 1s, .breaker_threshold = 2}, body);
        }(connect, ended), {.poller = coro::poller_choice::simulation});
        return ended;
    };
    const outcome hangs = try_one([]() -> task<net::stream> {
        co_await coro::sleep_for(1h);
        co_return net::stream();
    });
    EXPECT_EQ(hangs.code, coro::errc::deadline_exceeded) << hangs.error;
    EXPECT_NE(hangs.error.find("shared_outage_test.cpp"), std::string::npos) << hangs.error;
    const outcome throws = try_one([]() -> task<net::stream> {
        throw std::runtime_error("no such server");
        co_return net::stream();
    });
    EXPECT_EQ(throws.error, "no such server");
    const outcome nothing = try_one([]() -> task<net::stream> { co_return net::stream(); });
    EXPECT_EQ(nothing.code, coro::errc::closed) << nothing.error;
    const outcome leaves = try_one([]() -> task<net::stream> {
        throw coro::cancelled();
        co_return net::stream();
    });
    EXPECT_EQ(leaves.code, coro::errc::broken) << leaves.error;
}

TEST_F(shared_outage_test, callers_on_other_loops_learn_why) {
    outcome ended;
    coro::run([](outcome& into) -> task<> {
        const auto body = [&](connection& shared) -> task<> {
            co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
                group.spawn({.loop = 1}, ask, std::ref(shared), 1, std::ref(into));
                co_return;
            });
        };
        co_await coro::with_shared_connection<numbers>(connector(), {}, body);
    }(ended), {.poller = coro::poller_choice::simulation, .loops = 2});
    EXPECT_EQ(ended.code, std::errc::connection_refused) << ended.error;
}

}  // namespace
}  // namespace coro_test::sharing
