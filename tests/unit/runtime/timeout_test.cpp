// Deadlines: they nest and only shrink; who turns an expiry into what; shields with a limit.
#include <coro/runtime/timeout.hpp>

#include <optional>
#include <source_location>
#include <stdexcept>
#include <string>

#include <coro/core/as_result.hpp>
#include <coro/core/when_all.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/with_cleanup.hpp>

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

// --- whose deadline it was

/// Awaits `work`; the text of what it throws.
template <typename Work>
coro::task<std::string> error_of(Work work) {
    std::string text = "nothing was thrown";
    try {
        co_await work();
    } catch (const coro::io_error& error) {
        EXPECT_TRUE(is_deadline(error));
        EXPECT_EQ(error.endpoint(), "");
        text = error.what();
    }
    co_return text;
}

std::string at_line(unsigned line) {
    return " at timeout_test.cpp:" + std::to_string(line) + ": deadline exceeded";
}

constexpr unsigned line_of(std::source_location where = std::source_location::current()) {
    return where.line();
}

TEST_F(timeout_test, the_error_names_the_line_and_the_span_of_its_deadline) {
    simulate([]() -> coro::task<> {
        unsigned line = 0;
        const auto timeout = [&line]() -> coro::task<> {
            line = line_of() + 1;
            co_await coro::with_timeout(1500ms, coro::sleep_for(1h));
        };
        std::string text = co_await error_of(timeout);
        EXPECT_EQ(text, "with_timeout of 1500 ms" + at_line(line));
        const auto deadline = [&line]() -> coro::task<> {
            line = line_of() + 1;
            co_await coro::with_deadline(coro::now() + 1s, coro::sleep_for(1h));
        };
        text = co_await error_of(deadline);
        EXPECT_EQ(text, "with_deadline" + at_line(line));
        const auto limit = [&line]() -> coro::task<> {
            line = line_of() + 1;
            co_await coro::shield(coro::sleep_for(1h));
        };
        text = co_await error_of(limit);
        EXPECT_EQ(text, "shield of 5 s" + at_line(line));
        const auto cleanup = [&line]() -> coro::task<> {
            const auto nothing = []() -> coro::task<> { co_return; };
            const auto too_long = []() -> coro::task<> { co_await coro::sleep_for(1h); };
            line = line_of() + 1;
            co_await coro::with_cleanup(nothing, too_long, 20us);
        };
        text = co_await error_of(cleanup);
        EXPECT_EQ(text, "shield of 20 us" + at_line(line));
        // A branch has no frame of its own, and names the line all the same.
        const auto branch = [&line]() -> coro::task<> {
            line = line_of() + 1;
            co_await coro::when_all(coro::with_timeout(7ns, coro::sleep_for(1h)));
        };
        text = co_await error_of(branch);
        EXPECT_EQ(text, "with_timeout of 7 ns" + at_line(line));
    }());
}

/// Throws the deadline_exceeded of its own deadline, after `inner`; ends after `work` otherwise.
coro::task<int> with_inner(coro::duration inner, coro::duration work) {
    co_return co_await coro::with_timeout(inner, value_after(work, 3));
}

TEST_F(timeout_test, an_empty_result_of_move_on_after_is_its_own_deadline_and_an_error_another) {
    enum class end { value, own_deadline, inner_deadline };
    struct row {
        coro::duration own, inner, work;
        end wanted;
    };
    static constexpr row rows[] = {
        {1h, 1h, 1ms, end::value},
        {1ms, 1h, 2h, end::own_deadline},
        {1h, 1ms, 2h, end::inner_deadline},
        {1ms, 1ms, 2h, end::own_deadline},  // in the same tick: the outer one covers the inner
        {0ms, 0ms, 2h, end::own_deadline},
    };
    for (const row& each : rows) {
        SCOPED_TRACE(std::to_string(each.own.count()) + " " + std::to_string(each.inner.count()));
        std::optional<end> seen;
        const auto body = [&]() -> coro::task<> {
            const auto result =
                co_await coro::as_result(coro::move_on_after(each.own, with_inner(each.inner,
                                                                                 each.work)));
            if (!result.has_value()) seen = end::inner_deadline;
            else seen = (*result).has_value() ? end::value : end::own_deadline;
        };
        simulate(body());
        EXPECT_EQ(seen, each.wanted);
    }
}

TEST_F(timeout_test, nested_deadlines_are_told_apart_by_their_texts) {
    const auto text_with = [](coro::duration own, coro::duration inner) {
        std::string text;
        const auto body = [&]() -> coro::task<> {
            const auto work = [&]() -> coro::task<> {
                (void)co_await coro::with_timeout(own, with_inner(inner, 1h));
            };
            text = co_await error_of(work);
        };
        simulate(body());
        return text;
    };
    EXPECT_TRUE(text_with(1s, 100ms).starts_with("with_timeout of 100 ms at "));
    EXPECT_TRUE(text_with(100ms, 1s).starts_with("with_timeout of 100 ms at "));
    EXPECT_TRUE(text_with(2s, 1s).starts_with("with_timeout of 1 s at "));
    EXPECT_NE(text_with(2s, 1s), text_with(1s, 2s)) << "the same span, at another line";
    // In the same tick it is the outer one that speaks: the whole of its work is over time.
    EXPECT_EQ(text_with(1s, 1s), text_with(1s, 2s));
}

TEST_F(timeout_test, the_limit_of_a_shield_inside_is_an_inner_deadline_also_in_the_same_tick) {
    simulate([]() -> coro::task<> {
        const auto shielded = []() -> coro::task<> {
            co_await coro::shield(coro::sleep_for(1h), 1ms);
        };
        const auto result = co_await coro::as_result(coro::move_on_after(1ms, shielded()));
        EXPECT_FALSE(result.has_value());
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

TEST_F(timeout_test, the_current_deadline_is_seen_up_to_a_shield_and_no_further) {
    simulate([]() -> coro::task<> {
        const auto seen_inside = []() -> coro::task<coro::duration> {
            co_return coro::current_deadline() - coro::now();
        };
        const auto nested = [&]() -> coro::task<coro::duration> {
            const auto in_group = [&](coro::task_group&) -> coro::task<coro::duration> {
                const coro::duration seen = co_await coro::with_timeout(1h, seen_inside());
                co_return seen;
            };
            const coro::duration seen = co_await coro::with_task_group(in_group);
            co_return seen;
        };
        const auto shielded = [&]() -> coro::task<std::pair<coro::duration, coro::duration>> {
            const coro::duration plain = co_await coro::shield(seen_inside(), 5s);
            const coro::duration deep = co_await coro::shield(nested(), 5s);
            co_return std::pair(plain, deep);
        };
        const auto [plain, deep] = co_await coro::with_timeout(1s, shielded());
        EXPECT_EQ(plain, 5s) << "the deadline of one second is outside of the shield";
        EXPECT_EQ(deep, 5s) << "and so it is for what is deeper inside";
        const coro::duration open = co_await coro::with_timeout(1s, nested());
        EXPECT_EQ(open, 1s) << "without a shield it counts";
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
