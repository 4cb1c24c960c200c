// The spans of a pool: ages, idleness, looks, pauses of a server that is down, leaks; and its end.
#include <coro/service/connection_pool.hpp>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/stats.hpp>

#include "unit/service/pool_fixture.hpp"

namespace pool_tests {
namespace {

using coro::discard_reason;

class pool_spans_test : public core_test {};

TEST_F(pool_spans_test, idle_connections_end_at_their_time_down_to_min_idle) {
    fake_server server;
    with_pool(server, {.max_size = 5, .min_idle = 2, .idle_timeout = 10min},
              [&](fake_pool& pool) -> task<> {
                  co_await fill(pool, 5);
                  EXPECT_EQ(server.alive, 5);
                  co_await coro::sleep_for(10min - 1ms);
                  EXPECT_EQ(server.alive, 5);
                  co_await coro::sleep_for(2ms);
                  EXPECT_EQ(server.alive, 2);
                  EXPECT_EQ(pool.stats().discarded_for(discard_reason::idle), 3U);
                  co_await coro::sleep_for(10min);
                  EXPECT_EQ(server.alive, 2);
              });
}

TEST_F(pool_spans_test, min_idle_is_made_ahead_and_made_up_for) {
    fake_server server;
    with_pool(server, {.max_size = 4, .min_idle = 3}, [&](fake_pool& pool) -> task<> {
        co_await coro::sleep_for(10ms);
        EXPECT_EQ(pool.stats().idle, 3U);
        EXPECT_LE(server.most_connecting, 2);
        const fake_lease one = co_await pool.acquire();
        const fake_lease two = co_await pool.acquire();
        co_await coro::sleep_for(10ms);
        EXPECT_EQ(pool.stats().idle, 2U);  // max_size allows no more
        EXPECT_EQ(server.alive, 4);
    });
}

TEST_F(pool_spans_test, ages_end_spread_over_the_jitter) {
    fake_server server;
    with_pool(server, {.max_size = 50, .min_idle = 50, .idle_timeout = coro::duration::max(),
                       .max_lifetime = 1000s, .lifetime_jitter = 0.2},
              [&](fake_pool& pool) -> task<> {
                  co_await coro::sleep_for(799s);
                  EXPECT_EQ(pool.stats().created, 50U);
                  std::vector<std::uint64_t> ended;
                  for (int i = 0; i < 4; ++i) {
                      co_await coro::sleep_for(51s);
                      ended.push_back(pool.stats().discarded_for(discard_reason::lifetime));
                  }
                  // Each quarter of the window has its part; all have ended with it.
                  EXPECT_GT(ended[0], 2U);
                  EXPECT_GT(ended[1], ended[0] + 2);
                  EXPECT_GT(ended[2], ended[1] + 2);
                  EXPECT_EQ(ended[3], 50U);
                  EXPECT_EQ(pool.stats().idle, 50U);  // made up for
              });
}

TEST_F(pool_spans_test, a_lease_may_outlast_the_age) {
    fake_server server;
    with_pool(server, {.max_lifetime = 10s, .lifetime_jitter = 0}, [&](fake_pool& pool) -> task<> {
        fake_lease lease = co_await pool.acquire();
        co_await coro::sleep_for(1min);
        EXPECT_EQ(server.alive, 1);
        lease.release();
        co_await coro::sleep_for(0s);
        EXPECT_EQ(server.alive, 0);
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::lifetime), 1U);
    });
}

TEST_F(pool_spans_test, validates_what_was_idle_and_nothing_else) {
    fake_server server;
    with_pinging_pool(server, {.max_size = 1, .validate_after = 500ms},
                      [&](fake_pool& pool) -> task<> {
                          co_await use_for(pool, 0s);
                          co_await coro::sleep_for(499ms);
                          co_await use_for(pool, 0s);
                          EXPECT_EQ(server.pings, 0);
                          co_await coro::sleep_for(500ms);
                          co_await use_for(pool, 0s);
                          EXPECT_EQ(server.pings, 1);
                          EXPECT_EQ(server.made, 1);
                          server.answers_pings = false;
                          co_await coro::sleep_for(1s);
                          co_await use_for(pool, 0s);  // another one
                          EXPECT_EQ(server.made, 2);
                          server.ping_time = 1h;
                          co_await coro::sleep_for(1s);
                          const auto start = coro::now();
                          co_await use_for(pool, 0s);
                          EXPECT_EQ(elapsed_ms(start), 5001);  // validation_timeout, a handshake
                          EXPECT_EQ(pool.stats().discarded_for(discard_reason::invalid), 2U);
                          // Cancelled in the midst of a ping: its reply is still to come.
                          co_await coro::sleep_for(1s);
                          EXPECT_FALSE(co_await coro::move_on_after(10ms, use_for(pool, 0s)));
                          co_await coro::sleep_for(0s);
                          EXPECT_EQ(server.alive, 0);
                      });
}

TEST_F(pool_spans_test, looks_at_idle_connections) {
    fake_server server;
    with_pinging_pool(server, {.max_size = 3, .min_idle = 1, .keepalive_time = 1min},
                      [&](fake_pool& pool) -> task<> {
                          co_await fill(pool, 3);
                          co_await coro::sleep_for(61s);
                          EXPECT_EQ(server.pings, 3);
                          EXPECT_EQ(pool.stats().idle, 3U);
                          server.answers_pings = false;
                          co_await coro::sleep_for(61s);
                          EXPECT_EQ(server.pings, 6);
                          EXPECT_EQ(pool.stats().discarded_for(discard_reason::invalid), 3U);
                          EXPECT_EQ(pool.stats().idle, 1U);  // min_idle
                      });
}

// --- a server that is down

TEST_F(pool_spans_test, a_server_that_is_down_fails_them_at_once_with_the_cause) {
    fake_server server;
    server.up = false;
    const told_reports told;
    with_pool(server, {.name = "db"}, [&](fake_pool& pool) -> task<> {
        EXPECT_EQ(co_await refused(pool), "connect fake:1: Connection refused");  // after three
        EXPECT_EQ(server.attempts.size(), 3U);
        for (int i = 0; i < 100; ++i) {
            const auto start = coro::now();
            EXPECT_EQ(co_await refused(pool), "connect fake:1: Connection refused");
            EXPECT_EQ(coro::now(), start);
        }
        EXPECT_EQ(pool.stats().failed, 101U);
        server.up = true;
        co_await coro::sleep_for(2s);  // the pool finds out by itself
        EXPECT_EQ(co_await refused(pool), "");
    });
    ASSERT_EQ(told.texts.size(), 2U);
    EXPECT_EQ(told.texts[0], "connect fake:1 (db): the server is down, and acquire() fails at "
                             "once: Connection refused");
    EXPECT_EQ(told.texts[1], "connect db: the server is back");
}

/// Asks all the time; each answer in its time.
task<> ask_through_an_outage(fake_pool& pool, coro::time_point until, int& served, int& failed) {
    while (coro::now() < until) {
        const auto start = coro::now();
        try {
            co_await coro::with_timeout(3s, use_for(pool, 5ms));
            ++served;
        } catch (const io_error&) {
            ++failed;
        }
        EXPECT_LE(coro::now() - start, 3s + 50ms);
        co_await coro::sleep_for(20ms);
    }
}

TEST_F(pool_spans_test, an_outage_of_thirty_seconds) {
    for (const bool refuses : {true, false}) {
        SCOPED_TRACE(refuses);
        fake_server server;
        const told_reports told;
        with_pool(server, {.max_size = 8, .connect_timeout = 500ms},
                  [&](fake_pool& pool) -> task<> {
            const auto start = coro::now();
            int served = 0;
            int failed = 0;
            const auto many = [&](coro::task_group& group) -> task<> {
                for (int i = 0; i < 20; ++i)
                    group.spawn(ask_through_an_outage, std::ref(pool), start + 60s,
                                std::ref(served), std::ref(failed));
                co_await coro::sleep_for(10s);
                (refuses ? server.up : server.hangs) = !refuses;
                pool.clear();  // what there was is gone
                co_await coro::sleep_for(30s);
                server.up = true;
                server.hangs = false;
                const int before = served;
                co_await coro::sleep_for(2s);
                EXPECT_GT(served, before);
                const int failed_then = failed;
                co_await coro::sleep_for(10s);
                EXPECT_EQ(failed, failed_then);
            };
            co_await coro::with_task_group(many);
            EXPECT_GT(failed, 0);
            // No storm: in no second of the outage more than two.
            const auto& tried = server.attempts;
            for (std::size_t i = 0; i + 2 < tried.size(); ++i) {
                if (tried[i] > start + 10s && tried[i + 2] < start + 40s) {
                    EXPECT_GE(tried[i + 2] - tried[i], 1s);
                }
            }
        });
    }
}

TEST_F(pool_spans_test, what_is_idle_is_lent_though_the_server_is_down) {
    fake_server server;
    const told_reports told;
    with_pool(server, {.max_size = 2}, [&](fake_pool& pool) -> task<> {
        fake_lease one = co_await pool.acquire();
        server.up = false;
        EXPECT_NE(co_await refused(pool), "");
        one.release();
        EXPECT_EQ(co_await refused(pool), "");
    });
}

TEST_F(pool_spans_test, a_connection_made_ahead_says_nothing_of_the_server_now) {
    fake_server server;
    const told_reports told;
    with_pool(server, {.max_size = 5, .min_idle = 2}, [&](fake_pool& pool) -> task<> {
        co_await coro::sleep_for(10ms);
        server.up = false;
        const fake_lease one = co_await pool.acquire();
        co_await coro::sleep_for(10s);
        EXPECT_EQ(told.texts.size(), 1U);  // it is down
        const fake_lease two = co_await pool.acquire();
        EXPECT_EQ(told.texts.size(), 1U);
        EXPECT_EQ(co_await refused(pool), "connect fake:1: Connection refused");
    });
}

TEST_F(pool_spans_test, a_server_that_answers_no_ping_is_asked_once_in_a_pause) {
    fake_server server;
    server.answers_pings = false;
    const told_reports told;
    with_pinging_pool(server, {.validate_after = 0s}, [&](fake_pool& pool) -> task<> {
        EXPECT_NE(co_await refused(pool), "");
        co_await coro::sleep_for(20s);
        for (std::size_t i = 3; i + 2 < server.attempts.size(); ++i) {
            EXPECT_GE(server.attempts[i + 2] - server.attempts[i], 1s) << i;
        }
    });
}

TEST_F(pool_spans_test, the_time_of_an_acquire_condemns_no_server) {
    fake_server server;
    server.handshake = 90ms;
    server.ping_time = 20ms;
    with_pinging_pool(server, {.connection_timeout = 100ms, .validate_after = 0s},
                      [&](fake_pool& pool) -> task<> {
                          for (int i = 0; i < 4; ++i)
                              EXPECT_EQ(co_await refused(pool), "acquire pool: deadline exceeded");
                          EXPECT_EQ(pool.stats().failed, 0U);
                          server.ping_time = 1ms;
                          EXPECT_EQ(co_await refused(pool), "");
                      });
}

/// Two servers.
struct two_connector {
    [[nodiscard]] std::size_t endpoints() const { return 2; }
    task<fake_connection> operator()(std::size_t endpoint) const {
        return connect_to(*servers[endpoint]);
    }
    fake_server* servers[2];
};

TEST_F(pool_spans_test, several_servers_share_the_work_and_one_may_be_down) {
    fake_server one;
    fake_server two;
    const two_connector connector{{&one, &two}};
    const told_reports told;
    const auto body = [&](fake_pool& pool) -> task<> {
        co_await fill(pool, 6);
        EXPECT_EQ(one.alive, 3);
        EXPECT_EQ(two.alive, 3);
        pool.clear();
        co_await coro::sleep_for(1ms);
        two.up = false;
        co_await fill(pool, 6);
        EXPECT_EQ(one.alive, 6);
        EXPECT_EQ(pool.stats().failed, 0U);
        EXPECT_TRUE(told.texts.empty());  // not all are down
    };
    simulate(coro::with_connection_pool(connector, {.max_size = 6}, body));
    EXPECT_EQ(one.alive + two.alive, 0);
}

TEST_F(pool_spans_test, the_least_used_server_has_the_next_one) {
    fake_server one;
    fake_server two;
    const two_connector connector{{&one, &two}};
    const auto body = [&](fake_pool& pool) -> task<> {
        std::vector<fake_lease> all;
        for (int i = 0; i < 4; ++i) all.push_back(co_await pool.acquire());
        for (fake_lease& each : all)
            if (&each->server() == &one) each.discard();
        co_await coro::sleep_for(0s);
        EXPECT_EQ(one.alive, 0);
        for (fake_lease& each : all)
            if (!each) each = co_await pool.acquire();
        EXPECT_EQ(one.alive, 2);
    };
    simulate(coro::with_connection_pool(
        connector, {.max_size = 4, .choice = coro::endpoint_choice::least_used}, body));
}

TEST_F(pool_spans_test, a_server_that_failed_once_is_asked_again) {
    fake_server one;
    fake_server two;
    const two_connector connector{{&one, &two}};
    const auto body = [&](fake_pool& pool) -> task<> {
        two.up = false;
        co_await fill(pool, 4);
        EXPECT_EQ(one.alive, 4);
        two.up = true;
        co_await coro::sleep_for(2s);
        {
            std::vector<fake_lease> all;
            for (int i = 0; i < 4; ++i) all.push_back(co_await pool.acquire());
            for (fake_lease& each : all) each.discard();
        }
        co_await coro::sleep_for(0s);
        co_await fill(pool, 4);
        EXPECT_EQ(one.alive, 2);
        EXPECT_EQ(two.alive, 2);
    };
    simulate(coro::with_connection_pool(connector, {.max_size = 4}, body));
}

/// Three servers that never answer.
struct three_hanging {
    [[nodiscard]] std::size_t endpoints() const { return 3; }
    task<fake_connection> operator()(std::size_t) const { return connect_to(*server); }
    fake_server* server;
};

TEST_F(pool_spans_test, servers_that_hang_leave_the_loop_alone) {
    fake_server server;
    server.hangs = true;
    const told_reports told;
    const auto body = [&](fake_pool& pool) -> task<> {
        EXPECT_NE(co_await refused(pool), "");
        const auto turns = coro::current_loop_stats().turns;
        co_await coro::sleep_for(1min);
        EXPECT_LT(coro::current_loop_stats().turns - turns, 400U);  // it would never end
        server.hangs = false;
        co_await coro::sleep_for(10s);
        EXPECT_EQ(co_await refused(pool), "");
    };
    const three_hanging connector{&server};
    simulate(coro::with_connection_pool(connector, {}, body));
}

TEST_F(pool_spans_test, a_smaller_pool_waits_for_its_lease_while_the_server_is_down) {
    fake_server server;
    const told_reports told;
    with_pool(server, {.max_size = 2}, [&](fake_pool& pool) -> task<> {
        fake_lease held = co_await pool.acquire();
        server.up = false;
        EXPECT_NE(co_await refused(pool), "");
        pool.resize(1);
        co_await coro::sleep_for(1min);
        server.up = true;
        held.release();
        co_await use_for(pool, 0s);
    });
}

TEST_F(pool_spans_test, a_pool_that_was_suspended_through_an_outage_finds_the_server) {
    fake_server server;
    const told_reports told;
    with_pool(server, {}, [&](fake_pool& pool) -> task<> {
        server.up = false;
        EXPECT_NE(co_await refused(pool), "");
        pool.suspend();
        co_await coro::sleep_for(1min);
        server.up = true;
        pool.resume();
        co_await coro::sleep_for(10ms);
        EXPECT_EQ(co_await refused(pool), "");
    });
}

TEST_F(pool_spans_test, a_clear_counts_for_the_connect_that_is_under_way) {
    fake_server server;
    server.handshake = 1s;
    with_pool(server, {.max_size = 1}, [&](fake_pool& pool) -> task<> {
        const auto beside = [&](coro::task_group& group) -> task<> {
            group.spawn(use_for, std::ref(pool), 0s);
            co_await coro::sleep_for(500ms);
            pool.clear();
        };
        co_await coro::with_task_group(beside);
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::cleared), 1U);
        EXPECT_EQ(server.made, 2);
        EXPECT_EQ(server.most_alive, 1);
    });
}

TEST_F(pool_spans_test, a_new_connection_that_is_invalid_is_a_failed_connect) {
    fake_server server;
    server.answers_pings = false;
    const told_reports told;
    with_pinging_pool(server, {.validate_after = 0s}, [&](fake_pool& pool) -> task<> {
        EXPECT_EQ(co_await refused(pool), "validate pool: closed while in use");
        EXPECT_EQ(server.made, 3);
    });
}

TEST_F(pool_spans_test, what_was_granted_in_vain_is_as_old_as_it_was) {
    fake_server server;
    with_pinging_pool(server, {.max_size = 1}, [&](fake_pool& pool) -> task<> {
        co_await use_for(pool, 0s);
        co_await coro::sleep_for(1min);
        const auto both = [&](coro::cancel_scope& scope) -> task<> {
            const auto late = [&](coro::task_group& group) -> task<> {
                pool.suspend();
                group.spawn(use_for, std::ref(pool), 0s);
                co_await coro::yield();
                EXPECT_EQ(pool.stats().waiting, 1U);
                scope.cancel();
                pool.resume();  // the grant comes to one that is cancelled
            };
            co_await coro::with_task_group(late);
        };
        co_await coro::with_cancel_scope(both);
        EXPECT_EQ(server.pings, 0);
        co_await use_for(pool, 0s);
        EXPECT_EQ(server.pings, 1);
        EXPECT_EQ(server.made, 1);
    });
}

}  // namespace
}  // namespace pool_tests
