// What a pool is told while it runs, the leases that it reports, and its end.
#include <coro/service/connection_pool.hpp>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/await.hpp>

#include "unit/service/pool_fixture.hpp"

namespace pool_tests {
namespace {

using coro::discard_reason;

class pool_control_test : public core_test {};

// --- what a pool is told

TEST_F(pool_control_test, clear_closes_all_that_was_made_before) {
    fake_server server;
    with_pool(server, {.max_size = 3}, [&](fake_pool& pool) -> task<> {
        fake_lease held = co_await pool.acquire();
        co_await fill(pool, 2);
        pool.clear();
        co_await coro::sleep_for(1ms);
        EXPECT_EQ(server.alive, 1);
        held.release();
        co_await coro::sleep_for(0s);
        EXPECT_EQ(server.alive, 0);
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::cleared), 3U);
        co_await use_for(pool, 0s);
        EXPECT_EQ(server.alive, 1);
    });
}

TEST_F(pool_control_test, a_suspended_pool_lets_tasks_wait) {
    fake_server server;
    with_pool(server, {.connection_timeout = 2s}, [&](fake_pool& pool) -> task<> {
        co_await use_for(pool, 0s);
        pool.suspend();
        EXPECT_EQ(co_await refused(pool), "acquire pool: deadline exceeded");
        const auto waiting = [&](coro::task_group& group) -> task<> {
            group.spawn(use_for, std::ref(pool), 0s);
            co_await coro::sleep_for(1s);
            EXPECT_EQ(pool.stats().waiting, 1U);
            pool.resume();
        };
        co_await coro::with_task_group(waiting);
        EXPECT_EQ(pool.stats().acquired, 2U);
    });
}

TEST_F(pool_control_test, resize_counts_at_once) {
    fake_server server;
    with_pool(server, {.max_size = 4, .min_idle = 1}, [&](fake_pool& pool) -> task<> {
        fake_lease held = co_await pool.acquire();
        co_await fill(pool, 3);
        pool.resize(1);
        co_await coro::sleep_for(1ms);
        EXPECT_EQ(server.alive, 1);
        const auto waiting = [&](coro::task_group& group) -> task<> {
            group.spawn(use_for, std::ref(pool), 1s);
            co_await coro::sleep_for(100ms);
            EXPECT_EQ(pool.stats().waiting, 1U);
            pool.resize(2);
            co_await coro::sleep_for(100ms);
            EXPECT_EQ(pool.stats().waiting, 0U);
        };
        co_await coro::with_task_group(waiting);
        EXPECT_THROW(pool.resize(0), std::invalid_argument);
        fake_lease other = co_await pool.acquire();
        pool.resize(1);
        other.release();
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::surplus), 4U);
    });
}

TEST_F(pool_control_test, drain_serves_who_waits_and_refuses_who_comes) {
    fake_server server;
    with_pool(server, {.max_size = 1}, [&](fake_pool& pool) -> task<> {
        const auto many = [&](coro::task_group& group) -> task<> {
            group.spawn(use_for, std::ref(pool), 1s);
            group.spawn(use_for, std::ref(pool), 1s);
            co_await coro::sleep_for(10ms);
            const auto start = coro::now();
            const auto late = [](fake_pool& of) -> task<> {
                co_await coro::sleep_for(100ms);
                EXPECT_EQ(co_await refused(of), "acquire pool: closed while in use");
            };
            group.spawn(late, std::ref(pool));
            co_await pool.drain();
            EXPECT_EQ(elapsed_ms(start), 1991);
            EXPECT_EQ(pool.stats().acquired, 2U);
        };
        co_await coro::with_task_group(many);
        co_await coro::sleep_for(0s);
        EXPECT_EQ(server.alive, 0);
        EXPECT_EQ(co_await refused(pool), "acquire pool: closed while in use");
    });
}

TEST_F(pool_control_test, a_drain_ends_with_the_last_that_waits_in_vain) {
    fake_server server;
    server.up = false;
    const told_reports told;
    with_pool(server, {}, [&](fake_pool& pool) -> task<> {
        const auto many = [&](coro::task_group& group) -> task<> {
            const auto hopeless = [](fake_pool& of) -> task<> {
                EXPECT_NE(co_await refused(of), "");
            };
            group.spawn(hopeless, std::ref(pool));
            co_await coro::sleep_for(500ms);
            const auto start = coro::now();
            co_await pool.drain();
            EXPECT_LT(elapsed_ms(start), 5000);
        };
        co_await coro::with_task_group(many);
    });
}

TEST_F(pool_control_test, a_drain_waits_for_who_looks_at_what_was_granted) {
    fake_server server;
    with_pinging_pool(server, {.max_size = 1}, [&](fake_pool& pool) -> task<> {
        co_await use_for(pool, 0s);
        co_await coro::sleep_for(1s);
        server.answers_pings = false;
        const auto both = [&](coro::task_group& group) -> task<> {
            const auto served = [](fake_pool& of) -> task<> {
                EXPECT_EQ(co_await refused(of), "");
            };
            group.spawn(served, std::ref(pool));
            co_await coro::sleep_for(500us);  // in the midst of the ping
            co_await pool.drain();
            EXPECT_EQ(server.made, 2);
        };
        co_await coro::with_task_group(both);
    });
}

TEST_F(pool_control_test, a_drain_may_be_cancelled) {
    fake_server server;
    with_pool(server, {}, [&](fake_pool& pool) -> task<> {
        const fake_lease held = co_await pool.acquire();
        EXPECT_FALSE(co_await coro::move_on_after(1s, pool.drain()));
        EXPECT_EQ(co_await refused(pool), "acquire pool: closed while in use");
    });
}

TEST_F(pool_control_test, close_ends_who_waits) {
    fake_server server;
    with_pool(server, {.max_size = 1}, [&](fake_pool& pool) -> task<> {
        fake_lease held = co_await pool.acquire();
        const auto waiting = [&](coro::task_group& group) -> task<> {
            const auto late = [](fake_pool& of) -> task<> {
                EXPECT_EQ(co_await refused(of), "acquire pool: closed while in use");
            };
            group.spawn(late, std::ref(pool));
            co_await coro::sleep_for(10ms);
            pool.close();
        };
        co_await coro::with_task_group(waiting);
        EXPECT_EQ(server.alive, 1);
        held.release();
        EXPECT_EQ(server.alive, 0);
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::closed), 1U);
    });
}

// --- leases that are held for long

task<> forget_to_give_back(fake_pool& pool, coro::event& wanted) {
    const fake_lease lease = co_await pool.acquire();
    co_await wanted.wait();
}

TEST_F(pool_control_test, a_leak_is_named_with_its_place_and_where_its_holder_waits) {
    fake_server server;
    const told_reports told;
    with_pool(server, {.name = "db", .leak_detection_threshold = 2s},
              [&](fake_pool& pool) -> task<> {
                  coro::event wanted;
                  const auto many = [&](coro::task_group& group) -> task<> {
                      group.spawn({.name = "hoarder"}, forget_to_give_back, std::ref(pool),
                                  std::ref(wanted));
                      co_await use_for(pool, 1s);  // short enough
                      EXPECT_TRUE(told.texts.empty());
                      co_await coro::sleep_for(2s);
                      EXPECT_EQ(told.texts.size(), 1U);
                      co_await coro::sleep_for(10s);
                      EXPECT_EQ(told.texts.size(), 1U);  // once
                      wanted.set();
                  };
                  co_await coro::with_task_group(many);
                  EXPECT_EQ(pool.stats().leaks, 1U);
              });
    ASSERT_EQ(told.texts.size(), 2U);
    const std::string& text = told.texts[0];
    EXPECT_TRUE(text.starts_with("acquire db: a connection is held for 2.0 s, acquired at "))
        << text;
    EXPECT_NE(text.find("pool_control_test.cpp:"), std::string::npos) << text;
    EXPECT_NE(text.find("its holder: #"), std::string::npos) << text;
    EXPECT_NE(text.find("hoarder"), std::string::npos) << text;
    EXPECT_NE(text.find("event"), std::string::npos) << text;
    EXPECT_NE(told.texts[1].find("has come back after 13.0 s"), std::string::npos) << told.texts[1];
}

// --- the end of a pool

TEST_F(pool_control_test, a_lease_may_outlive_its_pool) {
    fake_server server;
    const told_reports told;
    const auto outer = [&]() -> task<> {
        fake_lease kept;
        const auto body = [&](fake_pool& pool) -> task<> { kept = co_await pool.acquire(); };
        const fake_connector connector{&server};
        const auto start = coro::now();
        co_await coro::with_connection_pool(connector, {.name = "db", .drain = 3s}, body);
        EXPECT_EQ(elapsed_ms(start), 3001);
        EXPECT_EQ(server.alive, 1);
        kept.release();
        EXPECT_EQ(server.alive, 0);
    };
    simulate(outer());
    ASSERT_EQ(told.texts.size(), 1U);
    EXPECT_TRUE(told.texts[0].starts_with("close db: leases outlive their pool: acquired at "))
        << told.texts[0];
}

TEST_F(pool_control_test, the_end_waits_for_leases_that_are_out) {
    fake_server server;
    const told_reports told;
    const auto outer = [&]() -> task<> {
        fake_lease kept;
        const auto beside = [&](coro::task_group& group) -> task<> {
            const auto body = [&](fake_pool& pool) -> task<> { kept = co_await pool.acquire(); };
            const fake_connector connector{&server};
            const auto giver = [](fake_lease& lease) -> task<> {
                co_await coro::sleep_for(1s);
                lease.release();
            };
            group.spawn(giver, std::ref(kept));
            const auto start = coro::now();
            co_await coro::with_connection_pool(connector, {}, body);
            EXPECT_EQ(elapsed_ms(start), 1000);
        };
        co_await coro::with_task_group(beside);
    };
    simulate(outer());
    EXPECT_TRUE(told.texts.empty());
}

TEST_F(pool_control_test, a_body_that_throws_or_is_cancelled_ends_the_pool) {
    for (int moment = 0; moment < 40; ++moment) {
        fake_server server;
        server.handshake = 10ms;
        const pinging_connector connector{{&server}};
        const auto body = [&](fake_pool& pool) -> task<> {
            const auto many = [&](coro::task_group& group) -> task<> {
                for (int i = 0; i < 8; ++i) group.spawn(use_for, std::ref(pool), 7ms);
                co_return;
            };
            co_await coro::with_task_group(many);
            throw std::logic_error("the body");
        };
        const auto outer = [&]() -> task<> {
            const auto limited = [&]() -> task<> {
                co_await coro::with_connection_pool(connector, {.max_size = 3, .min_idle = 2},
                                                    body);
            };
            const auto limit = std::chrono::milliseconds(moment);
            try {
                EXPECT_FALSE(co_await coro::move_on_after(limit, limited()));
            } catch (const std::logic_error&) {
                EXPECT_GE(moment, 30);
            }
        };
        simulate(outer());
        EXPECT_EQ(server.alive, 0);
        EXPECT_EQ(server.connecting, 0);
    }
}

}  // namespace
}  // namespace pool_tests
