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

}  // namespace
}  // namespace coro::net::stream_tests
