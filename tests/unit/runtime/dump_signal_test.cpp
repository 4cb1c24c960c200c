// The signal that asks for a dump, without a run.
#include "runtime/signals.hpp"

#include <csignal>

#include <gtest/gtest.h>

namespace coro { inline namespace v0 { namespace detail {
namespace {

TEST(dump_signal_test, what_came_at_the_end_of_a_run_asks_the_next_one_for_nothing) {
    bell rung;
    {
        const dump_signal first(SIGUSR2, false, rung);
        ::raise(SIGUSR2);
    }
    const dump_signal second(SIGUSR2, false, rung);
    EXPECT_EQ(dump_signal::take(), 0);
    ::raise(SIGUSR2);
    EXPECT_EQ(dump_signal::take(), SIGUSR2);
    EXPECT_EQ(dump_signal::take(), 0);
}

TEST(dump_signal_test, one_that_comes_beside_another_forgets_nothing) {
    bell rung;
    const dump_signal first(SIGUSR2, false, rung);
    ::raise(SIGUSR2);
    const dump_signal second(SIGUSR2, false, rung);
    EXPECT_EQ(dump_signal::take(), SIGUSR2);
}

}  // namespace
}}}  // namespace coro::v0::detail
