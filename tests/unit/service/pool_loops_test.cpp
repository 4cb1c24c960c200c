// A pool whose tasks run on several loops: one queue, one budget, connections that move. All loops
// of a simulation run on one thread, so the counts of the server need no lock.
#include <coro/service/connection_pool.hpp>

#include <functional>
#include <optional>
#include <random>
#include <vector>

#include <coro/net/exact.hpp>
#include <coro/net/tcp.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/service/server.hpp>

#include "unit/service/pool_fixture.hpp"

namespace pool_tests {
namespace {

using coro::discard_reason;

template <typename T>
T simulate_on(unsigned loops, task<T> main, std::uint64_t seed = 0) {
    return coro::run(std::move(main), {.poller = coro::poller_choice::simulation,
                                       .loops = loops,
                                       .seed = seed});
}

/// A connection that can move, and knows on which loop it is.
class moving_connection {
public:
    moving_connection(fake_server& at, int number)
        : inner(at, number), loop(coro::loop_index()) {}
    moving_connection(moving_connection&& other) noexcept
        : inner(std::move(other.inner)), loop(std::exchange(other.loop, nowhere)) {}
    moving_connection& operator=(moving_connection&&) = delete;
    ~moving_connection() {
        if (loop != nowhere) {
            EXPECT_EQ(loop, coro::loop_index()) << "ended on another loop";
        }
    }
    static constexpr unsigned nowhere = ~0u;

    struct parted {
        moving_connection attach() {
            moving_connection arrived(std::move(inner));
            arrived.loop = coro::loop_index();
            return arrived;
        }
        fake_connection inner;
    };
    parted detach() && {
        EXPECT_EQ(loop, coro::loop_index()) << "taken off another loop than its own";
        loop = nowhere;
        return {std::move(inner)};
    }

    fake_connection inner;
    unsigned loop;

private:
    explicit moving_connection(fake_connection&& of) : inner(std::move(of)), loop(0) {}
};

task<moving_connection> connect_moving(fake_server& at) {
    co_await coro::sleep_for(at.handshake);
    co_return moving_connection(at, ++at.made);
}

template <typename Connection>
task<> come_at_random(coro::connection_pool<Connection>& pool, int rounds, unsigned seed) {
    std::minstd_rand draw(seed);
    const auto use = [&]() -> task<> {
        const auto lease = co_await pool.acquire();
        if constexpr (requires { lease->loop; }) {
            EXPECT_EQ(lease->loop, coro::loop_index());
        }
        co_await coro::sleep_for(std::chrono::microseconds(draw() % 500));
    };
    for (int i = 0; i < rounds; ++i)
        static_cast<void>(co_await coro::move_on_after(
            std::chrono::microseconds(200 + draw() % 5000), use()));
}

template <typename Connection>
task<> come_from_all_loops(coro::connection_pool<Connection>& pool, int rounds) {
    const auto many = [&](coro::task_group& group) -> task<> {
        for (unsigned i = 0; i < 24; ++i)
            group.spawn({.loop = i % coro::loop_count()}, come_at_random<Connection>,
                        std::ref(pool), rounds, i + 1);
        co_return;
    };
    co_await coro::with_task_group(many);
}

class pool_loops_test : public core_test {};

TEST_F(pool_loops_test, one_budget_for_all_loops_and_connections_that_move) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        fake_server server;
        const auto connector = [&server] { return connect_moving(server); };
        const auto body = [&](coro::connection_pool<moving_connection>& pool) -> task<> {
            co_await come_from_all_loops(pool, scaled(100));
            EXPECT_EQ(pool.stats().active, 0U);
            EXPECT_EQ(pool.stats().waiting, 0U);
            EXPECT_EQ(pool.stats().discarded_for(discard_reason::other_loop), 0U);
            EXPECT_LE(server.most_alive, 4);
        };
        simulate_on(3, coro::with_connection_pool(connector, {.max_size = 4}, body), seed);
        EXPECT_EQ(server.alive, 0);
    }
}

TEST_F(pool_loops_test, what_cannot_move_is_made_again) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        fake_server server;
        const fake_connector connector{&server};
        const auto body = [&](fake_pool& pool) -> task<> {
            co_await come_from_all_loops(pool, scaled(100));
            EXPECT_EQ(pool.stats().active, 0U);
            EXPECT_GT(pool.stats().discarded_for(discard_reason::other_loop), 0U);
        };
        simulate_on(3, coro::with_connection_pool(connector, {.max_size = 4}, body), seed);
        EXPECT_LE(server.most_alive, 4);
        EXPECT_EQ(server.alive, 0);
    }
}

TEST_F(pool_loops_test, what_cannot_move_stays_where_there_is_room_for_another) {
    fake_server server;
    const fake_connector connector{&server};
    const auto body = [&](fake_pool& pool) -> task<> {
        {
            std::vector<fake_lease> all;
            for (int i = 0; i < 3; ++i) all.push_back(co_await pool.acquire());
        }
        const auto use_two = [](fake_pool& of) -> task<> {
            const fake_lease one = co_await of.acquire();
            const fake_lease two = co_await of.acquire();
        };
        const auto elsewhere = [&](coro::task_group& group) -> task<> {
            group.spawn({.loop = 1}, use_two, std::ref(pool));
            co_return;
        };
        co_await coro::with_task_group(elsewhere);
        // One more was made beside the three; then one of them had to go.
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::other_loop), 1U);
        EXPECT_EQ(server.made, 5);
        EXPECT_EQ(server.most_alive, 4);
    };
    simulate_on(2, coro::with_connection_pool(connector, {.max_size = 4}, body));
}

/// Comes again and again, and notes the order over all loops.
task<> come_in_order(coro::connection_pool<moving_connection>& pool, std::uint64_t& asked,
                     std::uint64_t& served) {
    for (int i = 0; i < 50; ++i) {
        const std::uint64_t mine = asked++;
        const auto lease = co_await pool.acquire();
        // Those of other loops hear of it by a message, so they may be late by a few.
        EXPECT_LE(served > mine ? served - mine : mine - served, 3U);
        ++served;
        co_await coro::sleep_for(1ms);
    }
}

TEST_F(pool_loops_test, the_queue_is_one_for_all_loops) {
    fake_server server;
    const auto connector = [&server] { return connect_moving(server); };
    const auto body = [&](coro::connection_pool<moving_connection>& pool) -> task<> {
        std::uint64_t asked = 0;
        std::uint64_t served = 0;
        const auto many = [&](coro::task_group& group) -> task<> {
            for (unsigned i = 0; i < 30; ++i)
                group.spawn({.loop = i % 3}, come_in_order, std::ref(pool), std::ref(asked),
                            std::ref(served));
            co_return;
        };
        co_await coro::with_task_group(many);
        EXPECT_EQ(served, 1500U);
    };
    simulate_on(3, coro::with_connection_pool(connector, {.max_size = 3}, body));
}

TEST_F(pool_loops_test, one_that_leaves_the_head_of_the_queue_lets_the_next_one_pass) {
    fake_server server;
    const fake_connector connector{&server};
    const auto body = [&](fake_pool& pool) -> task<> {
        co_await use_for(pool, 0s);
        co_await coro::sleep_for(10ms);
        server.handshake = 1s;
        const auto impatient = [](fake_pool& of) -> task<> {
            EXPECT_FALSE(co_await coro::move_on_after(100ms, use_for(of, 0s)));
        };
        const auto both = [&](coro::task_group& group) -> task<> {
            group.spawn({.loop = 1}, impatient, std::ref(pool));
            co_await coro::sleep_for(10ms);
            const auto start = coro::now();
            co_await use_for(pool, 0s);  // its connection is idle on this loop
            EXPECT_EQ(elapsed_ms(start), 90);
        };
        co_await coro::with_task_group(both);
    };
    simulate_on(2, coro::with_connection_pool(connector, {.max_size = 2}, body));
}

TEST_F(pool_loops_test, a_leak_of_a_connection_that_moved_is_named) {
    fake_server server;
    const auto connector = [&server] { return connect_moving(server); };
    const told_reports told;
    const auto body = [&](coro::connection_pool<moving_connection>& pool) -> task<> {
        { const auto lease = co_await pool.acquire(); }
        const auto hoard = [](coro::connection_pool<moving_connection>& of) -> task<> {
            const auto lease = co_await of.acquire();
            co_await coro::sleep_for(1min);
        };
        const auto elsewhere = [&](coro::task_group& group) -> task<> {
            group.spawn({.name = "hoarder", .loop = 1}, hoard, std::ref(pool));
            co_await coro::sleep_for(3s);
            EXPECT_EQ(told.texts.size(), 1U);
            if (!told.texts.empty()) {
                EXPECT_NE(told.texts[0].find("hoarder"), std::string::npos) << told.texts[0];
            }
        };
        co_await coro::with_task_group(elsewhere);
    };
    simulate_on(2, coro::with_connection_pool(connector, {.leak_detection_threshold = 2s}, body));
}

TEST_F(pool_loops_test, a_lease_that_ends_on_another_loop_closes_its_connection_at_home) {
    fake_server server;
    const auto connector = [&server] { return connect_moving(server); };
    const auto body = [&](coro::connection_pool<moving_connection>& pool) -> task<> {
        auto lease = co_await pool.acquire();
        const auto elsewhere = [&](coro::task_group& group) -> task<> {
            const auto drop = [](coro::pool_lease<moving_connection> taken) -> task<> {
                EXPECT_TRUE(taken);
                co_return;
            };
            group.spawn({.loop = 1}, drop, std::move(lease));
            co_return;
        };
        co_await coro::with_task_group(elsewhere);
        co_await coro::sleep_for(1ms);
        EXPECT_EQ(server.alive, 0);
        EXPECT_EQ(pool.stats().discarded_for(discard_reason::other_loop), 1U);
        EXPECT_EQ(pool.stats().active, 0U);
    };
    simulate_on(2, coro::with_connection_pool(connector, {}, body));
}

TEST_F(pool_loops_test, a_lease_may_outlive_its_pool_on_another_loop) {
    const auto main = []() -> task<> {
        auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
        const coro::tcp_connector connector(listener.local_endpoint());
        coro::pool_lease<coro::net::connection> kept;
        const auto body =
            [&](coro::connection_pool<coro::net::connection>& pool) -> task<> {
            kept = co_await pool.acquire();
        };
        const told_reports told;
        co_await coro::with_connection_pool(connector, {.drain = 0s}, body);
        EXPECT_EQ(told.texts.size(), 1U);
        const auto elsewhere = [&](coro::task_group& group) -> task<> {
            const auto drop = [](coro::pool_lease<coro::net::connection> taken) -> task<> {
                EXPECT_TRUE(taken);
                co_return;
            };
            group.spawn({.loop = 1}, drop, std::move(kept));
            co_return;
        };
        co_await coro::with_task_group(elsewhere);
        auto peer = co_await listener.accept();
        std::array<std::byte, 1> byte{};
        EXPECT_EQ(co_await peer.read_some(byte), 0U);  // closed
    };
    simulate_on(2, main());
}

// --- connections of the library, over the simulated network

task<> echo(coro::net::tcp_stream peer) {
    std::array<std::byte, 64> buffer{};
    while (const std::size_t n = co_await peer.read_some(buffer))
        co_await coro::net::write_all(peer, std::span(buffer).first(n));
}

using net_pool = coro::connection_pool<coro::net::connection>;

/// Asks for its own number, and may be cancelled in between.
task<> ask_echo(net_pool& pool, std::uint32_t number, int& answered) {
    const auto lease = co_await pool.acquire();
    co_await lease->out.write(std::as_bytes(std::span(&number, 1)));
    co_await lease->out.flush();
    std::uint32_t answer = 0;
    co_await lease->in.read_exact(std::as_writable_bytes(std::span(&answer, 1)));
    EXPECT_EQ(answer, number) << "a foreign reply";
    ++answered;
}
task<> ask_many(net_pool& pool, std::uint32_t first, int& answered) {
    std::minstd_rand draw(first);
    for (std::uint32_t i = 0; i < 60; ++i)
        static_cast<void>(co_await coro::move_on_after(
            std::chrono::milliseconds(draw() % 40), ask_echo(pool, first + i, answered)));
}

TEST_F(pool_loops_test, connections_of_tcp_serve_three_loops_with_cancelled_exchanges) {
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
        int answered = 0;
        const auto main = [&](coro::task_group& group) -> task<> {
            auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
            const coro::tcp_connector connector(listener.local_endpoint());
            const auto body = [&](net_pool& pool) -> task<> {
                const auto clients = [&](coro::task_group& of) -> task<> {
                    for (unsigned i = 0; i < 12; ++i)
                        of.spawn({.loop = i % 3}, ask_many, std::ref(pool), i * 1000,
                                 std::ref(answered));
                    co_return;
                };
                co_await coro::with_task_group(clients);
                EXPECT_EQ(pool.stats().active, 0U);
                EXPECT_GT(pool.stats().discarded_for(discard_reason::exception), 0U);
            };
            const auto serving = [&](coro::task_group& servers) -> task<> {
                servers.spawn(coro::serve(listener, echo, {.limits = {.drain = 0s}}));
                co_await coro::with_connection_pool(connector, {.max_size = 5}, body);
                servers.cancel();
            };
            co_await coro::with_task_group(serving);
            group.cancel();
        };
        coro::run(coro::with_task_group(main),
                  {.poller = coro::poller_choice::simulation,
                   .loops = 3,
                   .simulation = {.latency = 1ms, .latency_most = 8ms},
                   .seed = seed});
        EXPECT_GT(answered, 100);
    }
}

}  // namespace
}  // namespace pool_tests
