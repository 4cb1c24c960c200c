// Cancel scopes: level-triggered, inherited, entry against success, stop requests;
// with_cancel_scope.
#include <coro/core/cancel_scope.hpp>

#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <coro/core/when_all.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class cancel_scope_test : public core_test {};

static_assert(!std::is_default_constructible_v<coro::cancel_scope>);
static_assert(!std::is_copy_constructible_v<coro::cancel_scope>);

coro::task<int> cancel_then(coro::cancel_scope& scope, coro::task<int> rest) {
    scope.cancel();
    co_return co_await std::move(rest);
}

TEST_F(cancel_scope_test, a_body_that_ends_by_itself_gives_its_value) {
    simulate([]() -> coro::task<> {
        const std::optional<int> value = co_await coro::with_cancel_scope(
            [](coro::cancel_scope&) -> coro::task<int> { co_return co_await value_after(1ms, 4); });
        EXPECT_EQ(value, 4);
        const bool ended = co_await coro::with_cancel_scope(
            [](coro::cancel_scope&) -> coro::task<> { co_return; });
        EXPECT_TRUE(ended);
    }());
}

TEST_F(cancel_scope_test, its_own_cancel_makes_the_answer_empty) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        const std::optional<int> value =
            co_await coro::with_cancel_scope([](coro::cancel_scope& scope) -> coro::task<int> {
                co_return co_await cancel_then(scope, value_after(1h, 4));
            });
        EXPECT_FALSE(value.has_value());
        const bool ended =
            co_await coro::with_cancel_scope([](coro::cancel_scope& scope) -> coro::task<> {
                scope.cancel();
                co_await coro::sleep_for(1h);
            });
        EXPECT_FALSE(ended);
        EXPECT_EQ(elapsed_ms(start), 0);
        co_await coro::sleep_for(1ms);  // outside of the scope nothing is cancelled
    }());
}

TEST_F(cancel_scope_test, a_value_in_spite_of_the_cancellation_is_answered) {
    simulate([]() -> coro::task<> {
        const std::optional<int> value =
            co_await coro::with_cancel_scope([](coro::cancel_scope& scope) -> coro::task<int> {
                scope.cancel();
                co_return 9;
            });
        EXPECT_EQ(value, 9);
    }());
}

TEST_F(cancel_scope_test, an_enclosing_scope_that_is_cancelled_wins) {
    simulate([]() -> coro::task<> {
        bool inner_answered = false;
        auto body = [&inner_answered](coro::cancel_scope& outer) -> coro::task<> {
            auto inner = [&outer](coro::cancel_scope& own) -> coro::task<> {
                own.cancel();
                outer.cancel();
                co_await coro::yield();
            };
            (void)co_await coro::with_cancel_scope(inner);
            inner_answered = true;
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));
        EXPECT_FALSE(inner_answered);
    }());
}

TEST_F(cancel_scope_test, errors_of_the_body_pass_through) {
    simulate([]() -> coro::task<> {
        EXPECT_TRUE(co_await throws<std::runtime_error>([]() -> coro::task<> {
            (void)co_await coro::with_cancel_scope([](coro::cancel_scope& scope)
                                                       -> coro::task<int> {
                scope.cancel();
                throw std::runtime_error("not cancelled");
                co_return 1;
            });
        }()));
    }());
}

TEST_F(cancel_scope_test, bodies_may_capture_and_answer_references) {
    simulate([]() -> coro::task<> {
        int object = 3;
        auto body = [&object](coro::cancel_scope&) -> coro::task<int&> {
            co_await coro::yield();
            co_return object;
        };
        const auto same = co_await coro::with_cancel_scope(body);
        EXPECT_EQ(&same->get(), &object);
    }());
}

// --- level-triggered

TEST_F(cancel_scope_test, every_await_in_a_cancelled_scope_throws_until_the_work_has_left) {
    simulate([]() -> coro::task<> {
        int thrown = 0;
        auto body = [&thrown](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            scope.cancel();  // idempotent
            EXPECT_TRUE(scope.is_cancelled());
            EXPECT_TRUE(coro::is_cancelled());
            for (int i = 0; i < 10; ++i) {
                try {
                    co_await coro::sleep_for(1s);
                } catch (const coro::cancelled&) {
                    ++thrown;
                }
            }
            co_await coro::yield();
            ADD_FAILURE() << "yield must throw as well";
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));
        EXPECT_EQ(thrown, 10);
        EXPECT_FALSE(coro::is_cancelled());
    }());
}

/// What is opened in a scope that was cancelled before starts, and meets that at its first await.
TEST_F(cancel_scope_test, a_scope_that_is_opened_in_a_cancelled_one_is_cancelled) {
    simulate([]() -> coro::task<> {
        std::vector<bool> seen;
        const auto note = [](std::vector<bool>& in) -> coro::task<> {
            in.push_back(coro::is_cancelled());
            co_await coro::sleep_for(1h);
        };
        const auto body = [&](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            const auto in_scope = [&](coro::cancel_scope& own) -> coro::task<> {
                EXPECT_TRUE(own.is_cancelled());
                co_await note(seen);
            };
            const auto nested = [&]() -> coro::task<> {
                (void)co_await coro::with_cancel_scope(in_scope);
            };
            const auto limited = [&]() -> coro::task<> {
                co_await coro::with_timeout(2h, note(seen));
            };
            EXPECT_TRUE(co_await throws<coro::cancelled>(nested()));
            EXPECT_TRUE(co_await throws<coro::cancelled>(limited()));
            co_await coro::shield(limited(), 3h);
            co_await coro::yield();
            ADD_FAILURE() << "after the shield it is cancelled as before";
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));
        EXPECT_EQ(seen, (std::vector<bool>{true, true, false}));
    }());
}

TEST_F(cancel_scope_test, at_entry_cancellation_wins_even_over_a_ready_result) {
    simulate([]() -> coro::task<> {
        mailbox box;
        box.put(1);
        auto body = [&box](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            (void)co_await box.take();
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));
        EXPECT_EQ(box.size(), 1u);  // nothing was taken
    }());
}

TEST_F(cancel_scope_test, once_granted_success_wins_over_a_later_cancellation) {
    simulate([]() -> coro::task<> {
        mailbox box;
        auto body = [&box](coro::cancel_scope& scope) -> coro::task<int> {
            auto [value, unit] = co_await coro::when_all(
                take_task(box), [](mailbox& to, coro::cancel_scope& of) -> coro::task<> {
                    to.put(5);
                    of.cancel();  // the taker is ready, not waiting
                    co_return;
                }(box, scope));
            co_return value;
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), 5);
    }());
}

TEST_F(cancel_scope_test, a_pending_wait_is_withdrawn_and_takes_nothing) {
    simulate([]() -> coro::task<> {
        mailbox box;
        auto body = [&box](coro::cancel_scope& scope) -> coro::task<int> {
            auto [value, unit] = co_await coro::when_all(
                take_task(box), [](mailbox& to, coro::cancel_scope& of) -> coro::task<> {
                    of.cancel();
                    to.put(5);
                    co_return;
                }(box, scope));
            co_return value;
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), std::nullopt);
        EXPECT_EQ(box.size(), 1u);
    }());
}

// --- stubborn tasks

coro::task<> swallow_cancellations(int count, coro::cancel_scope& scope) {
    scope.cancel();
    for (int i = 0; i < count; ++i) {
        try {
            co_await coro::yield();
        } catch (const coro::cancelled&) {
        }
    }
}

TEST_F(cancel_scope_test, the_thousandth_delivery_goes_through_the_run_queue_and_is_reported) {
    const report_log log;
    simulate([](const report_log& reports) -> coro::task<> {
        bool others_ran = false;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn([](bool& ran) -> coro::task<> {
                ran = true;
                co_return;
            }, std::ref(others_ran));
            auto stubborn = [](int count) {
                return [count](coro::cancel_scope& scope) -> coro::task<> {
                    co_await swallow_cancellations(count, scope);
                };
            };
            const auto nearly = stubborn(999);
            (void)co_await coro::with_cancel_scope(nearly);
            EXPECT_FALSE(others_ran);  // all of them were thrown in place
            EXPECT_TRUE(reports.lines.empty());
            const auto over = stubborn(3000);
            (void)co_await coro::with_cancel_scope(over);
            EXPECT_TRUE(others_ran);
        };
        co_await coro::with_task_group(body);
    }(log));
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_NE(log.lines[0].find("cancelled 1000 times"), std::string::npos) << log.lines[0];
    EXPECT_NE(log.lines[0].find("cancel_scope_test.cpp:"), std::string::npos) << log.lines[0];
    EXPECT_NE(log.lines[0].find("[main]"), std::string::npos) << log.lines[0];
}

TEST_F(cancel_scope_test, a_loop_of_timeouts_is_not_stubborn) {
    const report_log log;
    simulate([]() -> coro::task<> {
        for (int i = 0; i < 3000; ++i) {
            const auto moved_on = co_await coro::move_on_after(0ms, value_after(1s, 1));
            EXPECT_FALSE(moved_on.has_value());
        }
    }());
    EXPECT_TRUE(log.lines.empty()) << log.lines[0];
}

// --- stop requested

TEST_F(cancel_scope_test, a_stop_request_passes_down_also_through_shields_and_cancels_nothing) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::cancel_scope& scope) -> coro::task<int> {
            EXPECT_FALSE(coro::stop_requested());
            auto [below, unit] = co_await coro::when_all(
                coro::shield([]() -> coro::task<bool> {
                    co_await coro::sleep_for(2ms);
                    co_return coro::stop_requested();
                }()),
                [](coro::cancel_scope& of) -> coro::task<> {
                    co_await coro::sleep_for(1ms);
                    of.request_stop();
                    of.request_stop();
                }(scope));
            EXPECT_TRUE(below);
            EXPECT_TRUE(scope.stop_requested());
            EXPECT_FALSE(scope.is_cancelled());
            // A scope that is opened later inherits it.
            EXPECT_TRUE(co_await coro::with_timeout(1s, []() -> coro::task<bool> {
                co_return coro::stop_requested();
            }()));
            co_return 1;
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), 1);
        EXPECT_FALSE(coro::stop_requested());
    }());
}

}  // namespace
}  // namespace coro_test
