// The look that with_pair() takes at what is left does find something.
#include "unit/net/stream_pair.hpp"

#include <gtest/gtest-spi.h>

namespace coro::net::stream_tests {
namespace {

task<> leave_sockets() {
    const stream_pair pair = co_await connected_pair();
    co_await next_turn();
    EXPECT_NONFATAL_FAILURE(expect_nothing_left(), "a socket leaked");
}

task<read_lease> leave_a_lease() {
    stream_pair pair = co_await connected_pair();
    co_await send_text(pair.client, "x");
    co_return co_await pair.server.read_leased();
}

TEST(stream_pair, canary_sockets_and_leases_that_stay_are_seen) {
    const auto scenario = []() -> task<> {
        co_await leave_sockets();
        const read_lease lease = co_await leave_a_lease();
        co_await sleep_for(std::chrono::milliseconds(1));
        EXPECT_NONFATAL_FAILURE(expect_nothing_left(), "a lease leaked");
    };
    run(scenario(), {.poller = poller_choice::simulation});
}

/// What is there is answered where it is asked for, and nobody goes through the run queue; but not
/// without end, because others wait.
TEST(stream_pair, answers_at_once_take_no_turn_up_to_their_number) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_text(pair.client, std::string(200, 'x'));
        co_await sleep_for(std::chrono::milliseconds(1));
        const std::uint64_t turn = current_loop_stats().turns;
        std::byte into{};
        for (int i = 0; i < 30; ++i) {
            const std::size_t got = co_await pair.server.read_some(mutable_bytes(&into, 1));
            EXPECT_EQ(got, 1u);
        }
        EXPECT_EQ(current_loop_stats().turns, turn);
        for (int i = 0; i < 170; ++i) {
            const std::size_t got = co_await pair.server.read_some(mutable_bytes(&into, 1));
            EXPECT_EQ(got, 1u);
        }
        EXPECT_EQ(current_loop_stats().turns, turn + 6) << "200 answers, 32 at a time";
    };
    with_pair(body);
}

}  // namespace
}  // namespace coro::net::stream_tests
