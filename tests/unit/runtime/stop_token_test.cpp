// The bridge from and to std::stop_token, also across threads and past the end of the await.
#include <coro/runtime/stop_token.hpp>

#include <atomic>
#include <optional>
#include <stop_token>
#include <thread>

#include <coro/core/when_all.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class stop_token_test : public core_test {};

template <typename T>
T run_real(coro::task<T> main) {
    return coro::run(std::move(main), {.poller = coro::poller_choice::epoll,
                                       .signals = coro::signal_policy::leave});
}

// --- token -> scope

TEST_F(stop_token_test, without_a_stop_the_value_is_answered) {
    simulate([]() -> coro::task<> {
        std::stop_source source;
        EXPECT_EQ(co_await coro::with_stop_token(source.get_token(), value_after(1ms, 3)), 3);
        EXPECT_TRUE(co_await coro::with_stop_token(source.get_token(), coro::sleep_for(1ms)));
        EXPECT_EQ(co_await coro::with_stop_token(std::stop_token(), value_after(1ms, 4)), 4);
    }());
}

TEST_F(stop_token_test, a_stop_that_was_requested_before_cancels_at_entry) {
    simulate([]() -> coro::task<> {
        std::stop_source source;
        source.request_stop();
        mailbox box;
        box.put(1);
        EXPECT_EQ(co_await coro::with_stop_token(source.get_token(), box.take()), std::nullopt);
        EXPECT_EQ(box.size(), 1u);
        co_await coro::yield();  // only the inside was cancelled
    }());
}

coro::task<> stop_after(std::stop_source& source, coro::duration span) {
    co_await coro::sleep_for(span);
    source.request_stop();
}

TEST_F(stop_token_test, a_stop_meanwhile_cancels_the_awaitable) {
    simulate([]() -> coro::task<> {
        std::stop_source source;
        const auto start = coro::now();
        auto [stopped, unit] = co_await coro::when_all(
            coro::with_stop_token(source.get_token(), coro::sleep_for(1h)),
            stop_after(source, 2ms));
        EXPECT_FALSE(stopped);
        EXPECT_EQ(elapsed_ms(start), 2);
    }());
}

TEST_F(stop_token_test, an_enclosing_scope_that_is_cancelled_wins) {
    simulate([]() -> coro::task<> {
        std::stop_source source;
        auto body = [&source](coro::cancel_scope& scope) -> coro::task<int> {
            scope.cancel();
            source.request_stop();
            (void)co_await coro::with_stop_token(source.get_token(), coro::sleep_for(1h));
            co_return 1;
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), std::nullopt);
    }());
}

TEST_F(stop_token_test, a_post_that_is_under_way_when_the_await_ends_does_no_harm) {
    simulate([]() -> coro::task<> {
        for (int i = 0; i < 100; ++i) {
            std::stop_source source;
            auto stops_and_ends = [](std::stop_source& of) -> coro::task<int> {
                of.request_stop();  // posts to the loop, which cannot look at it before we end
                co_return 1;
            };
            EXPECT_EQ(
                co_await coro::with_stop_token(source.get_token(), stops_and_ends(source)), 1);
        }
    }());
}

TEST_F(stop_token_test, another_thread_may_request_the_stop_at_any_moment) {
    run_real([]() -> coro::task<> {
        for (int i = 0; i < scaled(200); ++i) {
            std::stop_source source;
            std::jthread other([&source, i] {
                // Not by yielding: on a busy machine a yield is the end of a time slice.
                for (std::atomic<int> spin = 0; spin < i * 500; ++spin) {}
                source.request_stop();
            });
            if (i % 2 == 0) {
                EXPECT_FALSE(
                    co_await coro::with_stop_token(source.get_token(), coro::sleep_for(1h)));
            } else {  // ends about when the stop comes
                (void)co_await coro::with_stop_token(source.get_token(), coro::yield());
            }
        }
    }());
}

TEST_F(stop_token_test, destroying_it_unawaited_frees_everything) {
    const dropped_tasks dropped;
    std::stop_source source;
    { const auto unstarted = coro::with_stop_token(source.get_token(), value_after(1ms, 1)); }
    { const auto unstarted = coro::with_stop_source(source, value_after(1ms, 1)); }
    source.request_stop();
    EXPECT_EQ(dropped.told(), 2u);
}

// --- scope -> source

TEST_F(stop_token_test, cancelling_the_scope_requests_a_stop_of_the_source) {
    simulate([]() -> coro::task<> {
        std::stop_source source;
        EXPECT_FALSE(co_await coro::move_on_after(
            1ms, coro::with_stop_source(source, coro::sleep_for(1h))));
        co_await coro::yield();
        EXPECT_TRUE(source.stop_requested());
    }());
}

TEST_F(stop_token_test, a_stop_request_in_the_scope_requests_one_of_the_source) {
    simulate([]() -> coro::task<> {
        std::stop_source source;
        auto body = [&source](coro::cancel_scope& scope) -> coro::task<int> {
            auto waits_for_the_stop = [](std::stop_token token) -> coro::task<int> {
                while (!token.stop_requested()) co_await coro::sleep_for(1ms);
                co_return 5;
            };
            auto [value, unit] = co_await coro::when_all(
                coro::with_stop_source(source, waits_for_the_stop(source.get_token())),
                [](coro::cancel_scope& of) -> coro::task<> {
                    co_await coro::sleep_for(3ms);
                    of.request_stop();
                }(scope));
            co_return value;
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), 5);
    }());
}

TEST_F(stop_token_test, a_scope_that_was_stopped_before_requests_it_at_once) {
    simulate([]() -> coro::task<> {
        std::stop_source source;
        auto body = [&source](coro::cancel_scope& scope) -> coro::task<> {
            scope.request_stop();
            co_await coro::with_stop_source(source, coro::yield());
            EXPECT_TRUE(source.stop_requested());
        };
        EXPECT_TRUE(co_await coro::with_cancel_scope(body));
    }());
}

TEST_F(stop_token_test, without_cancellation_the_source_is_left_alone) {
    simulate([]() -> coro::task<> {
        std::stop_source source;
        EXPECT_EQ(co_await coro::with_stop_source(source, value_after(1ms, 2)), 2);
        co_await coro::yield();
        EXPECT_FALSE(source.stop_requested());
    }());
}

TEST_F(stop_token_test, callbacks_run_from_the_loops_inbox_and_may_use_the_loop) {
    simulate([]() -> coro::task<> {
        bool inside_a_task = true;
        coro::time_point when{};
        std::stop_source source;
        const std::stop_callback call(source.get_token(), [&] {
            inside_a_task = coro::detail::current->running != nullptr;
            when = coro::now();
        });
        const auto start = coro::now();
        EXPECT_FALSE(co_await coro::move_on_after(
            2ms, coro::with_stop_source(source, coro::sleep_for(1h))));
        co_await coro::yield();
        EXPECT_FALSE(inside_a_task);
        EXPECT_EQ(when - start, 2ms);
    }());
}

TEST_F(stop_token_test, a_request_under_way_at_the_end_of_run_still_arrives) {
    std::stop_source source;
    simulate([](std::stop_source& to) -> coro::task<> {
        auto body = [&to](coro::cancel_scope& scope) -> coro::task<> {
            auto ends_it = [](coro::cancel_scope& of) -> coro::task<> {
                of.cancel();
                co_return;
            };
            co_await coro::with_stop_source(to, ends_it(scope));
        };
        (void)co_await coro::with_cancel_scope(body);
    }(source));
    EXPECT_TRUE(source.stop_requested());
}

}  // namespace
}  // namespace coro_test
