// until_stop: a wait that ends when a stop is requested, and loses nothing.
#include <coro/runtime/until_stop.hpp>

#include <optional>
#include <stdexcept>

#include <coro/core/with_cancel_scope.hpp>
#include <coro/core/when_all.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::task;

class until_stop_test : public core_test {};

/// Runs `body(scope)` in a scope of which it may request a stop.
template <typename Body>
void in_scope(Body body) {
    simulate(coro::with_cancel_scope(body));
}

task<> stop_after(coro::cancel_scope& scope, coro::duration span) {
    co_await coro::sleep_for(span);
    scope.request_stop();
}

TEST_F(until_stop_test, without_a_stop_the_value_is_returned) {
    in_scope([](coro::cancel_scope&) -> task<> {
        EXPECT_EQ(co_await coro::until_stop(value_after(1ms, 3)), 3);
        EXPECT_TRUE(co_await coro::until_stop(coro::sleep_for(1ms)));
        EXPECT_TRUE(co_await coro::until_stop(sleep_task(1ms)));
    });
}

TEST_F(until_stop_test, a_stop_ends_the_wait_and_nothing_else) {
    in_scope([](coro::cancel_scope& scope) -> task<> {
        const auto start = coro::now();
        const auto body = [&](coro::task_group& group) -> task<> {
            group.spawn(stop_after, std::ref(scope), 5ms);
            mailbox box;
            EXPECT_EQ(co_await coro::until_stop(box.take()), std::nullopt);
            EXPECT_EQ(elapsed_ms(start), 5);
            EXPECT_FALSE(co_await coro::until_stop(sleep_task(1h)));
            co_await coro::sleep_for(1ms);  // nothing around it is cancelled
            EXPECT_EQ(elapsed_ms(start), 6);
        };
        co_await coro::with_task_group(body);
    });
}

TEST_F(until_stop_test, an_item_that_came_with_the_stop_is_returned) {
    in_scope([](coro::cancel_scope& scope) -> task<> {
        mailbox box;
        const auto give_and_stop = [&]() -> task<> {
            co_await coro::sleep_for(1ms);
            box.put(7);
            scope.request_stop();
        };
        const auto take = [&]() -> task<std::optional<int>> {
            co_return co_await coro::until_stop(box.take());
        };
        const auto [none, taken] = co_await coro::when_all(give_and_stop(), take());
        EXPECT_EQ(taken, 7);
    });
}

/// The client that waited in a listener's queue has its request answered.
TEST_F(until_stop_test, after_a_stop_what_is_there_already_is_returned) {
    in_scope([](coro::cancel_scope& scope) -> task<> {
        scope.request_stop();
        mailbox box;
        box.put(1);
        EXPECT_EQ(co_await coro::until_stop(box.take()), 1);
        const auto start = coro::now();
        EXPECT_EQ(co_await coro::until_stop(box.take()), std::nullopt);
        EXPECT_FALSE(co_await coro::until_stop(coro::sleep_for(1h)));
        EXPECT_EQ(elapsed_ms(start), 0) << "no grace beyond the turn";
    });
}

TEST_F(until_stop_test, a_cancellation_stays_cancelled) {
    in_scope([](coro::cancel_scope&) -> task<> {
        const auto inner = [](coro::cancel_scope& scope) -> task<> {
            scope.request_stop();
            scope.cancel();
            (void)co_await coro::until_stop(coro::sleep_for(1h));
            ADD_FAILURE() << "the cancellation was swallowed";
        };
        co_await coro::with_cancel_scope(inner);
    });
}

TEST_F(until_stop_test, errors_pass_through) {
    in_scope([](coro::cancel_scope& scope) -> task<> {
        const auto failing = []() -> task<> {
            (void)co_await coro::until_stop(failure_after(1ms, "its own"));
        };
        EXPECT_TRUE(co_await throws<std::runtime_error>(failing()));
        scope.request_stop();
        const auto at_once = []() -> task<> {
            (void)co_await coro::until_stop(failure_after(0ms, "its own"));
        };
        // A task that waits is cancelled by the stop; one that fails before it waits has failed.
        co_await at_once();
        const auto before = []() -> task<int> {
            throw std::runtime_error("before it waits");
            co_return 1;
        };
        const auto around = [&]() -> task<> { (void)co_await coro::until_stop(before()); };
        EXPECT_TRUE(co_await throws<std::runtime_error>(around()));
    });
}

TEST_F(until_stop_test, nests_with_the_other_combinators) {
    in_scope([](coro::cancel_scope& scope) -> task<> {
        const auto late = co_await coro::until_stop(coro::move_on_after(1ms, coro::sleep_for(1h)));
        EXPECT_TRUE(late.has_value() && !*late) << "the inner deadline, and no stop";
        const auto body = [&](coro::task_group& group) -> task<> {
            group.spawn(stop_after, std::ref(scope), 2ms);
            const auto timed = co_await coro::with_timeout(
                1h, coro::until_stop(coro::sleep_for(2h)));
            EXPECT_FALSE(timed) << "the stop";
            EXPECT_FALSE(co_await coro::shield(coro::until_stop(coro::sleep_for(1h)), 1h))
                << "a shield keeps cancellation out, and no stop";
        };
        co_await coro::with_task_group(body);
    });
}

}  // namespace
}  // namespace coro_test
