// Deadlines: they nest and only shrink; who turns an expiry into what; shields with a limit.
#include <coro/runtime/timeout.hpp>

#include <optional>
#include <stdexcept>

#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class timeout_test : public core_test {};

bool is_deadline(const coro::io_error& error) {
    return error.code() == coro::errc::deadline_exceeded;
}

TEST_F(timeout_test, a_value_in_time_is_answered_and_leaves_no_timer) {
    simulate([]() -> coro::task<> {
        EXPECT_EQ(co_await coro::with_timeout(2ms, value_after(1ms, 3)), 3);
        EXPECT_EQ(co_await coro::with_deadline(coro::now() + 2ms, value_after(1ms, 4)), 4);
        co_await coro::with_timeout(2ms, coro::sleep_for(1ms));
        EXPECT_EQ(coro::current_loop_stats().timers_armed, 0u);
    }());
}

TEST_F(timeout_test, expiry_is_cancelled_inside_and_deadline_exceeded_at_the_owner) {
    simulate([]() -> coro::task<> {
        bool cancelled_inside = false;
        auto inside = [](bool& seen) -> coro::task<> {
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
                seen = true;
                throw;
            }
        };
        const auto start = coro::now();
        try {
            co_await coro::with_timeout(5ms, inside(cancelled_inside));
            ADD_FAILURE() << "must throw";
        } catch (const coro::io_error& error) {
            EXPECT_TRUE(is_deadline(error));
            EXPECT_NE(error.code(), std::errc::timed_out);  // never the kernel's
            EXPECT_STREQ(error.operation(), "with_timeout");
        }
        EXPECT_TRUE(cancelled_inside);
        EXPECT_EQ(elapsed_ms(start), 5);
        co_await coro::sleep_for(1ms);  // nothing is cancelled out here
    }());
}

TEST_F(timeout_test, the_span_counts_from_the_await_not_from_the_call) {
    simulate([]() -> coro::task<> {
        auto work = coro::with_timeout(5ms, value_after(3ms, 1));
        co_await coro::sleep_for(1h);
        EXPECT_EQ(co_await std::move(work), 1);
    }());
}

TEST_F(timeout_test, a_deadline_that_has_passed_cancels_before_the_first_await) {
    simulate([]() -> coro::task<> {
        mailbox box;
        box.put(1);
        EXPECT_EQ(co_await coro::move_on_after(0ms, box.take()), std::nullopt);
        EXPECT_EQ(box.size(), 1u);
        EXPECT_EQ(co_await coro::move_on_after(-1s, box.take()), std::nullopt);
        EXPECT_EQ(co_await coro::move_on_after(1s, box.take()), 1);
    }());
}

TEST_F(timeout_test, deadlines_nest_and_only_shrink) {
    simulate([]() -> coro::task<> {
        co_await coro::with_timeout(10s, []() -> coro::task<> {
            co_await coro::with_timeout(1h, []() -> coro::task<> {  // cannot extend
                EXPECT_EQ(coro::time_remaining(), 10s);
                co_await coro::sleep_for(1s);
            }());
            co_await coro::with_timeout(2s, []() -> coro::task<> {  // can shorten
                EXPECT_EQ(coro::time_remaining(), 2s);
                co_await coro::yield();
            }());
            EXPECT_EQ(coro::time_remaining(), 9s);
            co_await coro::with_deadline(coro::never, []() -> coro::task<> {
                EXPECT_EQ(coro::time_remaining(), 9s);
                co_return;
            }());
        }());
    }());
}

TEST_F(timeout_test, the_owner_of_the_deadline_that_passed_is_the_one_that_says_so) {
    simulate([]() -> coro::task<> {
        bool inner_said_so = false;
        auto inner = [](bool& said) -> coro::task<> {
            try {
                co_await coro::with_timeout(1h, coro::sleep_for(2h));
            } catch (const coro::io_error&) {
                said = true;
                throw;
            }
        };
        EXPECT_TRUE(co_await throws<coro::io_error>([](coro::task<> work) -> coro::task<> {
            co_await coro::with_timeout(1ms, std::move(work));
        }(inner(inner_said_so))));
        EXPECT_FALSE(inner_said_so);
    }());
}

TEST_F(timeout_test, an_enclosing_scope_that_is_cancelled_wins_over_the_own_deadline) {
    simulate([]() -> coro::task<> {
        bool turned_into_error = false;
        auto body = [&turned_into_error](coro::cancel_scope& scope) -> coro::task<> {
            auto slow_to_unwind = [](coro::cancel_scope& outer) -> coro::task<> {
                try {
                    co_await coro::sleep_for(1h);
                } catch (const coro::cancelled&) {
                    outer.cancel();  // after the own deadline has passed
                    throw;
                }
            };
            try {
                co_await coro::with_timeout(1ms, slow_to_unwind(scope));
            } catch (const coro::io_error&) {
                turned_into_error = true;
            }
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));
        EXPECT_FALSE(turned_into_error);
    }());
}

coro::task<int> late_value() {
    try {
        co_await coro::sleep_for(1h);
    } catch (const coro::cancelled&) {
    }
    co_return 11;
}

TEST_F(timeout_test, a_body_that_ends_with_a_value_returns_it_even_late) {
    simulate([]() -> coro::task<> {
        EXPECT_EQ(co_await coro::with_timeout(1ms, late_value()), 11);
        EXPECT_EQ(co_await coro::move_on_after(1ms, late_value()), 11);
    }());
}

TEST_F(timeout_test, an_error_of_the_body_passes_through_even_late) {
    simulate([]() -> coro::task<> {
        auto late_error = []() -> coro::task<> {
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
                throw std::runtime_error("late");
            }
        };
        EXPECT_TRUE(co_await throws<std::runtime_error>(
            [](coro::task<> work) -> coro::task<> {
                co_await coro::with_timeout(1ms, std::move(work));
            }(late_error())));
    }());
}

TEST_F(timeout_test, move_on_after_answers_a_flag_or_an_optional) {
    simulate([]() -> coro::task<> {
        EXPECT_TRUE(co_await coro::move_on_after(2ms, coro::sleep_for(1ms)));
        EXPECT_FALSE(co_await coro::move_on_after(1ms, coro::sleep_for(2ms)));
        EXPECT_EQ(co_await coro::move_on_after(2ms, value_after(1ms, 1)), 1);
        EXPECT_EQ(co_await coro::move_on_after(1ms, value_after(2ms, 1)), std::nullopt);
        int object = 0;
        auto refer = [](int& to) -> coro::task<int&> { co_return to; };
        const auto same = co_await coro::move_on_after(1ms, refer(object));
        EXPECT_EQ(&same->get(), &object);
    }());
}

TEST_F(timeout_test, it_returns_when_the_body_has_ended) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        auto slow_to_end = []() -> coro::task<> {
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
            }
            co_await coro::shield(coro::sleep_for(7ms));
            co_await coro::yield();
        };
        EXPECT_FALSE(co_await coro::move_on_after(1ms, slow_to_end()));
        EXPECT_EQ(elapsed_ms(start), 8);
    }());
}

// --- shield

TEST_F(timeout_test, a_shield_keeps_cancellation_and_deadlines_out) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            const auto start = coro::now();
            co_await coro::shield([]() -> coro::task<> {
                EXPECT_FALSE(coro::is_cancelled());
                EXPECT_EQ(coro::time_remaining(), coro::default_shield_limit);
                co_await coro::sleep_for(1s);
            }());
            EXPECT_EQ(elapsed_ms(start), 1000);
            co_await coro::yield();  // met at the next await as ever
            ADD_FAILURE() << "must throw";
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));

        // A deadline of an enclosing scope passes meanwhile.
        const auto start = coro::now();
        EXPECT_FALSE(co_await coro::move_on_after(1ms, []() -> coro::task<> {
            co_await coro::shield(coro::sleep_for(2ms));
            co_await coro::yield();
        }()));
        EXPECT_EQ(elapsed_ms(start), 2);
    }());
}

TEST_F(timeout_test, a_shield_has_a_limit) {
    simulate([]() -> coro::task<> {
        for (const auto limit : {coro::default_shield_limit, coro::duration(30ms)}) {
            const auto start = coro::now();
            try {
                if (limit == coro::default_shield_limit) co_await coro::shield(coro::sleep_for(1h));
                else co_await coro::shield(coro::sleep_for(1h), limit);
                ADD_FAILURE() << "must throw";
            } catch (const coro::io_error& error) {
                EXPECT_TRUE(is_deadline(error));
                EXPECT_STREQ(error.operation(), "shield");
            }
            EXPECT_EQ(coro::now() - start, limit);
        }
    }());
}

TEST_F(timeout_test, the_limit_of_a_shield_is_an_error_also_in_a_cancelled_scope) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::cancel_scope& scope) -> coro::task<bool> {
            scope.cancel();
            co_return co_await throws<coro::io_error>([]() -> coro::task<> {
                co_await coro::shield(coro::sleep_for(1h), 1ms);
            }());
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), true);
    }());
}

TEST_F(timeout_test, children_of_a_group_inherit_deadline_and_shield_from_the_group) {
    simulate([]() -> coro::task<> {
        co_await coro::with_timeout(10s, []() -> coro::task<> {
            auto body = [](coro::task_group& group) -> coro::task<> {
                // Spawned from inside of a nearer deadline: the group's counts.
                co_await coro::with_timeout(1s, [](coro::task_group& to) -> coro::task<> {
                    to.spawn([]() -> coro::task<> {
                        EXPECT_EQ(coro::time_remaining(), 10s);
                        co_return;
                    });
                    co_await coro::yield();
                }(group));
            };
            co_await coro::with_task_group(body);
        }());
        auto scope_body = [](coro::cancel_scope& scope) -> coro::task<bool> {
            scope.cancel();
            bool ended = false;
            auto group_body = [&ended](coro::task_group& group) -> coro::task<> {
                group.spawn([](bool& out) -> coro::task<> {
                    co_await coro::sleep_for(1ms);
                    out = true;
                }, std::ref(ended));
                co_return;
            };
            co_await coro::shield(coro::with_task_group(group_body));
            co_return ended;
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(scope_body), true);
    }());
}

}  // namespace
}  // namespace coro_test
