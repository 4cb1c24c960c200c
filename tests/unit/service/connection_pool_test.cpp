// connection_pool: the queue, its bounds and its errors, and what is never lent again.
#include <coro/service/connection_pool.hpp>

#include <functional>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/fiber.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/await.hpp>

#include "unit/service/pool_fixture.hpp"

namespace pool_tests {
namespace {

using coro::discard_reason;

static_assert(!std::is_copy_constructible_v<fake_lease>);
static_assert(std::is_nothrow_move_constructible_v<fake_lease>);
static_assert(!std::is_move_constructible_v<fake_pool> ||
              !std::is_default_constructible_v<fake_pool>);
static_assert(coro::pool_connector<fake_connector>);
static_assert(coro::pool_connector<coro::tcp_connector>);
static_assert(coro::pool_connector<coro::local_connector>);

class connection_pool_test : public core_test {};

TEST_F(connection_pool_test, lends_the_connection_that_was_used_last) {
    fake_server server;
    with_pool(server, {.max_size = 3}, [&](fake_pool& pool) -> task<> {
        fake_lease one = co_await pool.acquire();
        fake_lease two = co_await pool.acquire();
        fake_lease three = co_await pool.acquire();
        EXPECT_EQ(server.alive, 3);
        const int middle = two->id;
        one.release();
        three.release();
        two.release();
        EXPECT_EQ(pool.stats().idle, 3U);
        const fake_lease again = co_await pool.acquire();
        EXPECT_EQ(again->id, middle);
        EXPECT_EQ(server.made, 3);
    });
}

TEST_F(connection_pool_test, makes_no_more_than_it_may) {
    fake_server server;
    with_pool(server, {.max_size = 4, .max_connecting = 2}, [&](fake_pool& pool) -> task<> {
        const auto many = [&](coro::task_group& group) -> task<> {
            for (int i = 0; i < 100; ++i) group.spawn(use_for, std::ref(pool), 3ms);
            co_return;
        };
        co_await coro::with_task_group(many);
        EXPECT_EQ(server.most_alive, 4);
        EXPECT_EQ(server.most_connecting, 2);
        EXPECT_EQ(server.made, 4);
        EXPECT_EQ(pool.stats().acquired, 100U);
        EXPECT_EQ(pool.stats().active, 0U);
    });
}

/// Comes `count` times, and notes the order in which tasks were served.
task<> come_again(fake_pool& pool, int count, std::uint64_t& asked, std::uint64_t& served) {
    for (int i = 0; i < count; ++i) {
        const std::uint64_t mine = asked++;
        const fake_lease lease = co_await pool.acquire();
        EXPECT_EQ(served++, mine);
        co_await coro::sleep_for(0s);
    }
}

TEST_F(connection_pool_test, nobody_is_overtaken) {
    fake_server server;
    const int each = scaled_or_full(2'000, 10'000);
    with_pool(server, {.max_size = 3}, [&](fake_pool& pool) -> task<> {
        std::uint64_t asked = 0;
        std::uint64_t served = 0;
        const auto many = [&](coro::task_group& group) -> task<> {
            for (int i = 0; i < 100; ++i)
                group.spawn(come_again, std::ref(pool), each, std::ref(asked), std::ref(served));
            co_return;
        };
        co_await coro::with_task_group(many);
        EXPECT_EQ(served, 100U * static_cast<unsigned>(each));
    });
}

TEST_F(connection_pool_test, refuses_more_than_may_wait) {
    fake_server server;
    with_pool(server, {.name = "db", .max_size = 1, .max_waiters = 2},
              [&](fake_pool& pool) -> task<> {
                  const fake_lease held = co_await pool.acquire();
                  const auto waiting = [&](coro::task_group& group) -> task<> {
                      group.spawn(use_for, std::ref(pool), 1ms);
                      group.spawn(use_for, std::ref(pool), 1ms);
                      co_await coro::sleep_for(1ms);
                      EXPECT_EQ(pool.stats().waiting, 2U);
                      const auto third = co_await coro::as_result(pool.acquire());
                      EXPECT_TRUE(third.error() == errc::limit_exceeded);
                      EXPECT_EQ(std::string(third.error().what()),
                                "acquire db: limit exceeded");
                      EXPECT_EQ(pool.stats().refused, 1U);
                      group.cancel();
                  };
                  co_await coro::with_task_group(waiting);
              });
}

TEST_F(connection_pool_test, an_acquire_ends_with_its_time) {
    fake_server server;
    with_pool(server, {.max_size = 1, .connection_timeout = 2s}, [&](fake_pool& pool) -> task<> {
        const fake_lease held = co_await pool.acquire();
        const auto start = coro::now();
        const auto second = co_await coro::as_result(pool.acquire());
        EXPECT_TRUE(second.error() == errc::deadline_exceeded);
        EXPECT_EQ(second.error().endpoint(), "pool");
        EXPECT_EQ(elapsed_ms(start), 2000);
        EXPECT_EQ(pool.stats().timeouts, 1U);
        EXPECT_EQ(pool.stats().waiting, 0U);
        // The nearer deadline counts.
        EXPECT_FALSE(co_await coro::move_on_after(500ms, use_for(pool, 0s)));
        EXPECT_EQ(elapsed_ms(start), 2500);
    });
}

TEST_F(connection_pool_test, an_abandoned_connect_is_for_the_next_one) {
    fake_server server;
    server.handshake = 1s;
    with_pool(server, {.max_size = 2}, [&](fake_pool& pool) -> task<> {
        const auto start = coro::now();
        EXPECT_FALSE(co_await coro::move_on_after(100ms, use_for(pool, 0s)));
        co_await use_for(pool, 0s);  // takes the connect that has been under way
        EXPECT_EQ(elapsed_ms(start), 1000);
        EXPECT_EQ(server.attempts.size(), 1U);
        EXPECT_EQ(pool.stats().withdrawn, 1U);
    });
}

TEST_F(connection_pool_test, who_is_too_late_connects_to_nobody) {
    fake_server server;
    with_pool(server, {}, [&](fake_pool& pool) -> task<> {
        EXPECT_FALSE(co_await coro::move_on_after(0s, use_for(pool, 0s)));
        const auto cancelled = [&](coro::cancel_scope& scope) -> task<> {
            scope.cancel();
            co_await use_for(pool, 0s);
        };
        co_await coro::with_cancel_scope(cancelled);
        co_await coro::sleep_for(1s);
        EXPECT_TRUE(server.attempts.empty());
        EXPECT_EQ(pool.stats().acquired, 0U);
    });
    with_pool(server, {.connection_timeout = 0s}, [&](fake_pool& pool) -> task<> {
        EXPECT_TRUE(co_await throws<io_error>(use_for(pool, 0s)));
        EXPECT_TRUE(server.attempts.empty());
    });
}

/// Until `count` of its uses were cancelled.
task<> be_cancelled_at_random(fake_pool& pool, int count, unsigned seed, coro::duration step) {
    std::minstd_rand draw(seed);
    std::uniform_int_distribution<coro::duration::rep> steps(0, 8ms / step - 1);
    for (int cancelled = 0; cancelled < count;) {
        const coro::duration patience = step * steps(draw);
        if (!co_await coro::move_on_after(patience, use_for(pool, 2ms))) ++cancelled;
    }
}

TEST_F(connection_pool_test, random_cancellations_leave_nothing_in_use) {
    // With the second one many a cancellation comes at the very moment of a grant.
    for (const coro::duration step : {coro::duration(1us), coro::duration(1ms)}) {
        fake_server server;
        const int count = scaled_or_full(1'000, 5'000);
        with_pool(server, {.max_size = 5, .max_connecting = 3}, [&](fake_pool& pool) -> task<> {
            const auto many = [&](coro::task_group& group) -> task<> {
                for (unsigned i = 0; i < 12; ++i)
                    group.spawn(be_cancelled_at_random, std::ref(pool), count, i + 1, step);
                co_return;
            };
            co_await coro::with_task_group(many);
            const coro::pool_stats stats = pool.stats();
            EXPECT_EQ(stats.active, 0U);
            EXPECT_EQ(stats.waiting, 0U);
            EXPECT_GT(stats.withdrawn, 0U);
            EXPECT_GT(stats.discarded_for(discard_reason::exception), 0U);
            EXPECT_LE(server.most_alive, 5);
            co_await coro::sleep_for(10ms);
            EXPECT_EQ(static_cast<std::size_t>(server.alive), pool.stats().idle);
        });
    }
}

/// An exchange that can be cut short: whoever comes next would read its reply.
task<> exchange(fake_connection& with, int tag) {
    EXPECT_EQ(with.tag, 0) << "a foreign reply";
    with.tag = tag;
    co_await coro::sleep_for(1ms);
    EXPECT_EQ(with.tag, tag) << "a foreign reply";
    with.tag = 0;
}
task<> exchange_by(fake_pool& pool, int tag, bool& began) {
    const fake_lease lease = co_await pool.acquire();
    began = true;
    co_await exchange(*lease, tag);
}
/// Until `count` of its exchanges were cancelled in their midst.
task<> exchange_at_random(fake_pool& pool, int count, unsigned seed) {
    std::minstd_rand draw(seed);
    int cut = 0;
    for (int tag = 1; cut < count; ++tag) {
        bool began = false;
        const auto patience = std::chrono::microseconds(draw() % 4000);
        const bool ended = co_await coro::move_on_after(patience, exchange_by(pool, tag, began));
        if (began && !ended) ++cut;
    }
}

TEST_F(connection_pool_test, no_reply_goes_to_somebody_else) {
    fake_server server;
    const int count = scaled_or_full(100, 50'000);
    // --gtest_repeat=10 --gtest_shuffle makes ten storms that differ.
    const auto round = static_cast<unsigned>(testing::UnitTest::GetInstance()->random_seed());
    const unsigned first_seed = round * 100 + 1;
    with_pool(server, {.max_size = 16, .max_connecting = 16}, [&](fake_pool& pool) -> task<> {
        const auto many = [&](coro::task_group& group) -> task<> {
            for (unsigned i = 0; i < 20; ++i)
                group.spawn(exchange_at_random, std::ref(pool), count, first_seed + i);
            co_return;
        };
        co_await coro::with_task_group(many);
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::exception),
                  20U * static_cast<unsigned>(count));
        EXPECT_EQ(pool.stats().active, 0U);
    });
}

TEST_F(connection_pool_test, what_is_poisoned_is_not_lent_again) {
    fake_server server;
    with_pool(server, {.max_size = 1}, [&](fake_pool& pool) -> task<> {
        int last = 0;
        const auto next = [&](auto spoil) -> task<> {
            {
                fake_lease lease = co_await pool.acquire();
                EXPECT_NE(lease->id, last);
                last = lease->id;
                spoil(lease);
            }
            co_await coro::sleep_for(2ms);
        };
        co_await next([](fake_lease& lease) { lease.discard(); });
        co_await next([](fake_lease& lease) { lease->clean = false; });
        co_await next([](fake_lease& lease) { lease->input = true; });  // closed while it is idle
        EXPECT_TRUE(co_await throws<std::logic_error>(next([](fake_lease& lease) {
            EXPECT_TRUE(lease);
            throw std::logic_error("in the midst of an exchange");
        })));
        co_await next([](fake_lease&) {});
        const coro::pool_stats stats = pool.stats();
        for (const auto why : {discard_reason::by_holder, discard_reason::unclean,
                               discard_reason::stale, discard_reason::exception})
            EXPECT_EQ(stats.discarded_for(why), 1U) << static_cast<int>(why);
        EXPECT_EQ(server.alive, 1);
    });
}

TEST_F(connection_pool_test, with_lends_for_the_length_of_a_task) {
    fake_server server;
    with_pool(server, {.max_size = 1}, [&](fake_pool& pool) -> task<> {
        const auto work = [&](fake_connection& with) -> task<int> {
            EXPECT_EQ(pool.stats().active, 1U);
            co_await exchange(with, 1);
            co_return with.id;
        };
        EXPECT_EQ(co_await pool.with(work), 1);
        EXPECT_EQ(co_await pool.with(work), 1);
        const auto failing = [](fake_connection&) -> task<> {
            throw std::logic_error("no");
            co_return;
        };
        EXPECT_TRUE(co_await throws<std::logic_error>(pool.with(failing)));
        EXPECT_EQ(co_await pool.with(work), 2);
    });
}

TEST_F(connection_pool_test, fibers_use_it_too) {
    fake_server server;
    with_pool(server, {.max_size = 2}, [&](fake_pool& pool) -> task<> {
        const auto fiber = [&] {
            const fake_lease lease = coro::await(pool.acquire());
            coro::await(coro::sleep_for(1ms));
            return lease->id;
        };
        EXPECT_EQ(co_await coro::fiber(fiber), 1);
        EXPECT_EQ(co_await coro::fiber(fiber), 1);
    });
}

TEST_F(connection_pool_test, a_lease_moves) {
    fake_server server;
    with_pool(server, {.max_size = 2}, [&](fake_pool& pool) -> task<> {
        fake_lease one = co_await pool.acquire();
        fake_lease other = std::move(one);
        EXPECT_FALSE(one);
        one.release();
        one.discard();
        EXPECT_TRUE(other);
        one = co_await pool.acquire();
        EXPECT_EQ(pool.stats().active, 2U);
        other = std::move(one);  // gives the first one back
        EXPECT_EQ(pool.stats().active, 1U);
        EXPECT_EQ(pool.stats().idle, 1U);
    });
}

// --- errors of the connector, and options that cannot be

TEST_F(connection_pool_test, options_that_cannot_be_are_named) {
    fake_server server;
    const auto complaint = [&](const coro::pool_options& options) {
        try {
            with_pool(server, options, [](fake_pool&) -> task<> { co_return; });
        } catch (const std::invalid_argument& error) {
            return std::string(error.what());
        }
        return std::string("none");
    };
    EXPECT_EQ(complaint({.max_size = 0}),
              "connection_pool: max_size is 0: a pool of no connection never lends one");
    EXPECT_EQ(complaint({.max_size = 2, .min_idle = 3}),
              "connection_pool: min_idle is above max_size: so many can never be idle");
    EXPECT_NE(complaint({.max_connecting = 0}).find("max_connecting"), std::string::npos);
    EXPECT_NE(complaint({.max_lifetime = 0s}).find("max_lifetime"), std::string::npos);
    EXPECT_NE(complaint({.lifetime_jitter = 1.5}).find("lifetime_jitter"), std::string::npos);
    EXPECT_NE(complaint({.keepalive_time = -1s}).find("keepalive_time"), std::string::npos);
    EXPECT_NE(complaint({.breaker_threshold = 0}).find("breaker_threshold"), std::string::npos);
    EXPECT_NE(complaint({.retry_first = 0s}).find("retry_first"), std::string::npos);
    EXPECT_NE(complaint({.max_waiters = 0}).find("max_waiters"), std::string::npos);
    EXPECT_NE(complaint({.max_lifetime = 999ms}).find("max_lifetime"), std::string::npos);
    EXPECT_EQ(complaint({.idle_timeout = 0s}), "none");
}

struct throwing_connector {
    task<fake_connection> operator()() const {
        co_await coro::sleep_for(1ms);
        if (how == 0) throw std::runtime_error("no such database");
        if (how == 1) throw 7;  // no std::exception
        if (how == 2) throw coro::cancelled();
        fake_connection dead(*server, 1);
        dead.clean = false;
        co_return dead;
    }
    fake_server* server;
    int how;
};

TEST_F(connection_pool_test, a_connector_that_fails_is_asked_again_and_then_named) {
    for (int how = 0; how < 4; ++how) {
        SCOPED_TRACE(how);
        fake_server server;
        const throwing_connector connector{&server, how};
        const auto body = [&](fake_pool& pool) -> task<> {
            bool failed = false;
            try {
                co_await use_for(pool, 0s);
            } catch (const std::runtime_error& error) {
                failed = how == 3 || std::string(error.what()) == "no such database";
            } catch (int thrown) {
                failed = how == 1 && thrown == 7;
            } catch (const std::logic_error&) {
                failed = how == 2;
            }
            EXPECT_TRUE(failed);
            EXPECT_EQ(pool.stats().connect_failures, 3U);
            EXPECT_EQ(pool.stats().active, 0U);
            EXPECT_EQ(server.alive, 0);
        };
        const told_reports told;
        simulate(coro::with_connection_pool(connector, {}, body));
    }
}

TEST_F(connection_pool_test, a_connect_that_hangs_ends_with_its_time) {
    fake_server server;
    server.hangs = true;
    const told_reports told;
    with_pool(server, {.connect_timeout = 1s, .breaker_threshold = 1},
              [&](fake_pool& pool) -> task<> {
                  const auto start = coro::now();
                  const auto error = co_await coro::as_result(pool.acquire());
                  EXPECT_TRUE(error.error() == errc::deadline_exceeded);
                  EXPECT_EQ(elapsed_ms(start), 1000);
                  server.hangs = false;
                  co_await coro::sleep_for(2s);
                  co_await use_for(pool, 0s);
              });
}

}  // namespace
}  // namespace pool_tests
