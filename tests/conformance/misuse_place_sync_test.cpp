// The table of misuse_place_test.cpp: what tasks wait for among themselves, beyond the first four.
#include <coro/runtime/barrier.hpp>
#include <coro/runtime/broadcast.hpp>
#include <coro/runtime/condition_variable.hpp>
#include <coro/runtime/latch.hpp>
#include <coro/runtime/oneshot.hpp>
#include <coro/runtime/rate_limiter.hpp>
#include <coro/runtime/retry.hpp>
#include <coro/runtime/shared_mutex.hpp>
#include <coro/runtime/ticker.hpp>
#include <coro/runtime/watch.hpp>

#include "misuse_table.hpp"

namespace misuse_tests {
namespace {

const misuse of_gathering[] = {
    {"latch_with_a_waiter", "a latch was destroyed while a task waits for it", says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::latch> one(std::in_place, 1U);
             co_await destroy_under<coro::latch>(one, [](coro::latch& of) -> task<> {
                 co_await of.wait();
             });
         });
     }},
    {"barrier_with_a_waiter", "a barrier was destroyed while a task waits for it", says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::barrier> one(std::in_place, 2U);
             co_await destroy_under<coro::barrier>(one, [](coro::barrier& of) -> task<> {
                 static_cast<void>(co_await of.arrive_and_wait());
             });
         });
     }},
    {"shared_mutex_with_a_waiter", "a shared_mutex was destroyed while a task waits for it",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::shared_mutex> one(std::in_place);
             const auto held = co_await one->lock();
             co_await destroy_under<coro::shared_mutex>(
                 one, [](coro::shared_mutex& of) -> task<> {
                     const auto lock = co_await of.lock_shared();
                 });
         });
     }},
    {"shared_mutex_with_a_holder", "a shared_mutex was destroyed while a task held it",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::shared_mutex> one(std::in_place);
             const auto held = co_await one->lock_shared();
             one.reset();
         });
     }},
    {"condition_variable_with_a_waiter",
     "a condition_variable was destroyed while a task waits for it", says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::condition_variable> one(std::in_place);
             co_await destroy_under<coro::condition_variable>(
                 one, [](coro::condition_variable& of) -> task<> {
                     coro::mutex guard;
                     auto lock = co_await guard.lock();
                     co_await of.wait(lock);
                 });
         });
     }},
    {"condition_variable_without_the_lock",
     "condition_variable::wait was given a lock that holds no mutex", says::or_later,
     [] {
         in_task([]() -> task<> {
             coro::condition_variable changed;
             coro::mutex::scoped_lock none;
             co_await changed.wait(none);
         });
     }},
    {"oneshot_with_a_waiter", "a oneshot was destroyed while a task waits for it", says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::oneshot<int>> one(std::in_place);
             co_await destroy_under<coro::oneshot<int>>(one, [](coro::oneshot<int>& of) -> task<> {
                 static_cast<void>(co_await of.receive());
             });
         });
     }},
    {"watch_with_a_waiter", "a watch was destroyed while a task waits for it", says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::watch<int>> one(std::in_place, 1);
             co_await destroy_under<coro::watch<int>>(one, [](coro::watch<int>& of) -> task<> {
                 coro::watch<int>::reader seen(of);
                 while (co_await seen.next()) continue;
             });
         });
     }},
    {"watch_of_nothing", "a watch was set to no value", says::or_later,
     [] {
         in_task([]() -> task<> {
             coro::watch<int> one(1);
             one.set(nullptr);
             co_return;
         });
     }},
    {"broadcast_with_a_waiter", "a broadcast was destroyed while a task waits for it",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::broadcast<int>> one(std::in_place, 1U);
             co_await destroy_under<coro::broadcast<int>>(
                 one, [](coro::broadcast<int>& of) -> task<> {
                     auto mine = of.subscribe();
                     static_cast<void>(co_await mine.receive());
                 });
         });
     }},
    {"broadcast_that_keeps_nothing", "a broadcast that keeps 0 items gives none to anybody",
     says::no_task, [] { const coro::broadcast<int> none(0); }},
    {"rate_limiter_with_a_waiter", "a rate_limiter was destroyed while a task waits for it",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<coro::rate_limiter> one(std::in_place, coro::rate_limit{});
             static_cast<void>(one->try_take());
             co_await destroy_under<coro::rate_limiter>(
                 one, [](coro::rate_limiter& of) -> task<> { co_await of.take(); });
         });
     }},
    {"rate_limiter_of_nothing",
     "a rate_limiter needs tokens, a burst, and a nanosecond between two tokens", says::no_task,
     [] { const coro::rate_limiter none({.tokens = 0}); }},
    {"take_of_too_much",
     "a rate_limiter was asked for no token, or for more than its burst: that never ends",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             coro::rate_limiter limit({.burst = 2});
             co_await limit.take(3);
         });
     }},
    {"latch_below_0", "a latch was counted down below 0", says::no_task,
     [] {
         coro::latch gate(1);
         gate.count_down(2);
     }},
    {"barrier_of_nobody", "a barrier of 0 parties lets nobody pass", says::no_task,
     [] { const coro::barrier none(0); }},
    {"barrier_that_drops_too_many", "a barrier was told to drop more parties than it has",
     says::no_task,
     [] {
         coro::barrier line(1);
         line.drop(2);
     }},
    {"ticker_that_never_rests", "a ticker needs a period above 0", says::or_later,
     [] {
         in_task([]() -> task<> {
             const coro::ticker none(coro::duration::zero());
             co_return;
         });
     }},
    {"retry_of_nothing", "retry was given 0 attempts", says::or_later,
     [] {
         in_task([]() -> task<> {
             const auto work = []() -> task<> { co_return; };
             co_await coro::retry(work, {.attempts = 0});
         });
     }},
    {"backoff_that_shrinks",
     "a backoff needs a factor of 1 at least, a jitter of 0 to 1, and no span below 0",
     says::no_task, [] { const coro::backoff none({.factor = 0.5}); }},
};

INSTANTIATE_TEST_SUITE_P(gathering, misuse_place_death_test, testing::ValuesIn(of_gathering),
                         name_of);

}  // namespace
}  // namespace misuse_tests
