// shared_connection when half of the callers leave, on one loop and on several: nobody gets the
// reply of another one.
#include <coro/service/shared_connection.hpp>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <coro/runtime/timeout.hpp>

#include "unit/service/shared_fixture.hpp"

namespace coro_test::sharing {
namespace {

class shared_storm_test : public core_test {};

/// A storm: `count` callers at random moments, of which a half is cancelled at random moments.
struct storm {
    std::uint64_t foreign = 0;
    std::uint64_t replies = 0;
    std::uint64_t cancelled = 0;
    std::uint64_t errors = 0;
    std::vector<int> calls;
};

task<> one_of_the_storm(connection& shared, storm& seen, int number, coro::duration patience) {
    seen.calls.push_back(number);
    if (patience == coro::duration::max()) {
        try {
            const int reply = co_await shared.request(number);
            ++(reply == number ? seen.replies : seen.foreign);
        } catch (const coro::io_error&) {
            ++seen.errors;
        }
        co_return;
    }
    try {
        const auto reply = co_await coro::move_on_after(patience, shared.request(number));
        if (reply) ++(*reply == number ? seen.replies : seen.foreign);
        else ++seen.cancelled;
    } catch (const coro::io_error&) {
        ++seen.errors;
    }
}

/// Whether `some` stand in the order in which they stand in `all`, each at most once.
bool in_order_of(const std::vector<int>& some, const std::vector<int>& all) {
    auto from = all.begin();
    for (const int each : some) {
        from = std::find(from, all.end(), each);
        if (from == all.end()) return false;
        ++from;
    }
    return true;
}

storm run_storm(server& peer, int count, std::uint64_t seed,
                coro::shared_connection_stats& counts) {
    storm seen;
    std::mt19937_64 chance(seed);
    with_server(
        peer, {.max_pipelined = 64, .max_waiters = SIZE_MAX},
        [&](connection& shared) -> task<> {
            co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
                for (int i = 0; i < count; ++i) {
                    coro::duration patience = coro::duration::max();
                    if (chance() % 2 == 0)
                        patience = std::chrono::microseconds(chance() % 4000);
                    group.spawn(one_of_the_storm, std::ref(shared), std::ref(seen), i, patience);
                    if (i % 50 == 49)
                        co_await coro::sleep_for(std::chrono::microseconds(chance() % 2000));
                }
            });
            co_await one_of_the_storm(shared, seen, count, coro::duration::max());
            counts = shared.stats();
        },
        seed, {.latency = 200us, .latency_most = 1500us});
    return seen;
}

TEST_F(shared_storm_test, half_of_the_callers_leave_and_nobody_gets_a_foreign_reply) {
    const int count = scaled(100'000, 20);
    server peer;
    coro::shared_connection_stats counts;
    const storm seen = run_storm(peer, count, 11, counts);
    EXPECT_EQ(seen.foreign, 0u);
    EXPECT_EQ(seen.errors, 0u);
    EXPECT_EQ(seen.replies + seen.cancelled, seen.calls.size());
    EXPECT_GT(seen.cancelled, static_cast<std::uint64_t>(count) / 20) << "the storm was none";
    EXPECT_GT(counts.dropped, 0u) << "nobody left while a reply was due";
    EXPECT_LT(peer.got.size(), static_cast<std::size_t>(count)) << "nobody left before the sending";
    EXPECT_TRUE(in_order_of(peer.got, seen.calls));
    EXPECT_EQ(counts.requests, peer.got.size());
    EXPECT_EQ(counts.replies, counts.requests);
    EXPECT_EQ(counts.connections, 1u);
}

TEST_F(shared_storm_test, a_storm_over_a_server_that_dies_again_and_again) {
    const int count = scaled(20'000, 20);
    std::mt19937_64 chance(5);
    server peer([&](int number) -> task<std::string> {
        const bool dies = chance() % 100 == 0;
        co_return dies ? std::string() : std::to_string(number) + "\n";
    });
    coro::shared_connection_stats counts;
    const storm seen = run_storm(peer, count, 12, counts);
    EXPECT_EQ(seen.foreign, 0u);
    EXPECT_EQ(seen.replies + seen.cancelled + seen.errors, seen.calls.size());
    EXPECT_GT(counts.connections, 1u);
    EXPECT_TRUE(in_order_of(peer.got, seen.calls)) << "and nothing is sent twice";
}

TEST_F(shared_storm_test, callers_on_other_loops_get_their_replies_or_leave) {
    server peer([](int number) -> task<std::string> {
        if (number % 4 == 3) co_await coro::sleep_for(1ms);
        co_return std::to_string(number) + "\n";
    });
    storm seen;
    coro::shared_connection_stats counts;
    coro::run([](server& of, storm& all, coro::shared_connection_stats& into) -> task<> {
        of.open();
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            group.spawn(of.serve_open());
            const auto body = [&](connection& shared) -> task<> {
                co_await coro::with_task_group([&](coro::task_group& callers) -> task<> {
                    for (int i = 0; i < 300; ++i) {
                        coro::duration patience = coro::duration::max();
                        if (i % 3 == 0) patience = std::chrono::microseconds(i * 50);
                        callers.spawn({.loop = static_cast<unsigned>(i) % 3}, one_of_the_storm,
                                      std::ref(shared), std::ref(all), i, patience);
                    }
                    co_return;
                });
                into = shared.stats();
            };
            co_await coro::with_shared_connection<numbers>(connector(), {}, body);
            of.close();
        });
    }(peer, seen, counts),
              {.poller = coro::poller_choice::simulation, .loops = 3, .seed = 3});
    EXPECT_EQ(seen.foreign, 0u);
    EXPECT_EQ(seen.errors, 0u);
    EXPECT_EQ(seen.replies + seen.cancelled, 300u);
    EXPECT_GE(seen.replies, 200u);
    EXPECT_EQ(peer.accepted, 1);
    EXPECT_EQ(counts.replies, counts.requests);
}

}  // namespace
}  // namespace coro_test::sharing
