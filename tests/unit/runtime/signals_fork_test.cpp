// A child that is forked in the moment in which the first run of the program takes the signals.
#include "runtime/signals.hpp"
#include "support/alone.hpp"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <optional>

#include <gtest/gtest.h>


namespace coro { inline namespace v0 { namespace detail {
namespace {

/// What happens when a fork has begun, before the library hears of it: what is told first has
/// asked last.
std::function<void()> when_a_fork_begins;

/// A library that asks for forks at its first signal does not hear of this one.
TEST(signals_fork, a_child_has_its_signals_back_whenever_they_were_taken) {
    lone_sim_poller world;
    std::optional<signal_guard> taken;
    ASSERT_EQ(::pthread_atfork([] { if (when_a_fork_begins) when_a_fork_begins(); }, nullptr,
                               nullptr),
              0);
    struct sigaction before {};
    ASSERT_EQ(::sigaction(SIGTERM, nullptr, &before), 0);
    when_a_fork_begins = [&] { taken.emplace(true, world); };
    const pid_t child = ::fork();
    if (child == 0) {
        struct sigaction inherited {};
        ::sigaction(SIGTERM, nullptr, &inherited);
        ::alarm(60);  // against hanging
        { const signal_guard own(true, world); }
        ::_exit(inherited.sa_handler == before.sa_handler ? 0 : 1);
    }
    when_a_fork_begins = nullptr;
    taken.reset();
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << "the child has a handler of its parent's run";
}

}  // namespace
}}}  // namespace coro::v0::detail
