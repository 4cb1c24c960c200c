// Rules 7 and 8 of the waist: when wait() returns, and who may wake it.
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_wait_test : public poller_fixture {
protected:
    /// Waits until `deadline` and answers how many calls of wait() that took: spurious returns are
    /// legal, a loop that spins is not.
    int calls_until(time_point deadline) {
        int calls = 0;
        while (world().now() < deadline) {
            collect(deadline);
            ++calls;
        }
        return calls;
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_wait_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

constexpr int few = 8;

TEST_P(poller_wait_test, now_never_goes_back) {
    time_point last = world().now();
    for (int i = 0; i < 100; ++i) {
        collect(last + 10us);
        EXPECT_GE(world().now(), last);
        last = world().now();
    }
}

TEST_P(poller_wait_test, past_deadline_only_collects) {
    const time_point before = world().now();
    collect(before - 1s);
    collect(before);
    collect(time_point{});
    if (simulated()) {
        EXPECT_EQ(world().now(), before);
    }
}

TEST_P(poller_wait_test, wait_ends_at_its_deadline_and_does_not_spin) {
    for (const duration span : {duration(30ms), duration(3ms), duration(300us), duration(1ns)}) {
        const time_point deadline = world().now() + span;
        EXPECT_LE(calls_until(deadline), few) << span.count() << " ns";
        EXPECT_GE(world().now(), deadline);
        if (simulated()) {
            EXPECT_EQ(world().now(), deadline);
        }
    }
}

TEST_P(poller_wait_test, pending_operation_does_not_end_a_wait) {
    const connected_pair pair = connect_pair();
    settle();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    EXPECT_LE(calls_until(world().now() + 20ms), few);
    world().cancel(receiving);
    finish(receiving);
}

TEST_P(poller_wait_test, completion_ends_a_wait_before_its_deadline) {
    const connected_pair pair = connect_pair();
    char into = 0;
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(submit(receiving));
    send_all(pair.client, "x");
    const time_point far = world().now() + 120s;
    while (receiving.phase == operation_phase::submitted) collect(far);
    EXPECT_LT(world().now(), far);
}

// --- wake

TEST_P(poller_wait_test, wake_before_wait_ends_the_next_wait) {
    const time_point far = world().now() + 120s;
    world().wake();
    collect(far);
    EXPECT_LT(world().now(), far);
}

TEST_P(poller_wait_test, wakes_are_not_remembered_for_ever) {
    for (int i = 0; i < 1000; ++i) world().wake();
    EXPECT_LE(calls_until(world().now() + 20ms), few);
    const std::uint64_t wakes = world().counters.wakes;
    collect_now();
    EXPECT_EQ(world().counters.wakes, wakes);
}

TEST_P(poller_wait_test, each_wake_between_waits_ends_one_wait) {
    for (int i = 0; i < 100; ++i) {
        const time_point far = world().now() + 120s;
        const std::uint64_t wakes = world().counters.wakes;
        world().wake();
        collect(far);
        EXPECT_LT(world().now(), far);
        EXPECT_EQ(world().counters.wakes, wakes + 1);
    }
}

TEST_P(poller_wait_test, wake_together_with_completions) {
    const connected_pair pair = connect_pair();
    for (int i = 0; i < 100; ++i) {
        char into = 0;
        operation receiving(opcode::receive, pair.server);
        receiving.buffer.data = &into;
        receiving.buffer.size = 1;
        submit(receiving);
        world().wake();
        send_all(pair.client, "w");
        world().wake();
        finish(receiving);
        EXPECT_EQ(receiving.result, 1);
    }
}

// --- other threads and signals: only where there are some

class poller_wake_test : public poller_wait_test {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(poller_wake_test);  // CORO_POLLER=simulation
INSTANTIATE_TEST_SUITE_P(real_worlds, poller_wake_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(poller_wake_test, wake_from_another_thread_ends_a_wait_under_way) {
    for (int i = 0; i < 20; ++i) {
        std::atomic<bool> woken{false};
        const time_point far = world().now() + 120s;
        std::thread waker([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds(i % 4));
            woken.store(true);
            world().wake();
        });
        while (!woken.load()) collect(far);
        EXPECT_LT(world().now(), far);
        waker.join();
        collect_now();
    }
}

/// Neither a wake-up may be lost nor a completion, when both come from outside at any moment.
TEST_P(poller_wake_test, storm_of_wakes_loses_nothing) {
    const connected_pair pair = connect_pair();
    std::atomic<int> rung{0};
    std::atomic<bool> stop{false};
    std::thread waker([&] {
        while (!stop.load()) {
            rung.fetch_add(1);
            world().wake();
            std::this_thread::yield();
        }
    });
    while (rung.load() == 0) std::this_thread::yield();
    for (int i = 0; i < 500; ++i) EXPECT_EQ(receive_after(pair, "storm"), "storm");
    stop.store(true);
    waker.join();
    collect_now();
}

poller* woken_by_signal = nullptr;

TEST_P(poller_wake_test, wake_from_a_signal_handler) {
    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = [](int) { woken_by_signal->wake(); };
    woken_by_signal = &world();
    ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
    const pthread_t self = ::pthread_self();
    const time_point far = world().now() + 120s;
    std::atomic<bool> sent{false};
    std::thread sender([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        sent.store(true);
        ::pthread_kill(self, SIGUSR1);
    });
    while (!sent.load()) collect(far);
    EXPECT_LT(world().now(), far);
    sender.join();
    collect_now();
    EXPECT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
    woken_by_signal = nullptr;
}

/// Rule 2: EINTR never comes out (the fixture looks at every result).
TEST_P(poller_wake_test, signals_interrupt_nothing) {
    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = [](int) {};  // without SA_RESTART: system calls do answer EINTR
    ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
    const pthread_t self = ::pthread_self();
    std::atomic<bool> stop{false};
    std::thread sender([&] {
        while (!stop.load()) {
            ::pthread_kill(self, SIGUSR1);
            std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
    });
    const listener_socket listener = listen();
    for (int i = 0; i < 100; ++i) {
        const connected_pair pair = connect_pair(listener);
        EXPECT_EQ(receive_after(pair, "in spite of it"), "in spite of it");
        world().close(pair.client);
        EXPECT_EQ(receive(pair.server), "<0>");
        world().close(pair.server);
        const time_point deadline = world().now() + 300us;
        calls_until(deadline);
        EXPECT_GE(world().now(), deadline);
    }
    stop.store(true);
    sender.join();
    EXPECT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
}

TEST_P(poller_wake_test, a_look_that_meets_a_wake_counts_it) {
    settle();
    const std::uint64_t wakes = world().counters.wakes;
    collect_now();
    EXPECT_EQ(world().counters.wakes, wakes);
    std::thread other([this] { world().wake(); });
    other.join();
    // It spends it too: nothing else would tell the loop that looks instead of sleeping.
    collect_now();
    EXPECT_EQ(world().counters.wakes, wakes + 1);
    collect_now();
    EXPECT_EQ(world().counters.wakes, wakes + 1);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
