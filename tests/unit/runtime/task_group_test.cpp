// Task groups: order, policies, errors, inheritance, and what is refused.
#include <coro/runtime/task_group.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class task_group_test : public core_test {};

coro::task<> append(std::string& to, char letter) {
    to += letter;
    co_return;
}
coro::task<> fail_after(coro::duration span, int number) {
    co_await coro::sleep_for(span);
    throw std::runtime_error("error " + std::to_string(number));
}

TEST_F(task_group_test, children_are_queued_in_order_and_never_run_in_place) {
    simulate([]() -> coro::task<> {
        std::string order;
        auto body = [&order](coro::task_group& group) -> coro::task<> {
            for (const char letter : {'a', 'b', 'c'}) group.spawn(append, std::ref(order), letter);
            EXPECT_EQ(order, "");
            EXPECT_EQ(group.size(), 3u);
            co_await coro::yield();
            EXPECT_EQ(order, "abc");
            EXPECT_EQ(group.size(), 0u);
        };
        co_await coro::with_task_group(body);
    }());
}

TEST_F(task_group_test, every_form_of_spawn) {
    simulate([]() -> coro::task<> {
        std::string order;
        auto body = [&order](coro::task_group& group) -> coro::task<> {
            group.spawn(append(order, 'a'));
            group.spawn({.name = "named"}, append(order, 'b'));
            group.spawn({.name = "named"}, append, std::ref(order), 'c');
            group.spawn([](std::string& to) -> coro::task<> { co_await append(to, 'd'); },
                        std::ref(order));
            auto owner = std::make_unique<char>('e');  // arguments are moved into the task
            group.spawn([](std::string& to, std::unique_ptr<char> held) -> coro::task<> {
                to += *held;
                co_return;
            }, std::ref(order), std::move(owner));
            co_return;
        };
        co_await coro::with_task_group(body);
        EXPECT_EQ(order, "abcde");
    }());
}

TEST_F(task_group_test, it_ends_after_the_last_child_and_answers_the_bodys_value) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        auto body = [](coro::task_group& group) -> coro::task<std::unique_ptr<int>> {
            group.spawn(sleep_task, 5ms);
            group.spawn(sleep_task, 3ms);
            co_return std::make_unique<int>(4);
        };
        const auto value = co_await coro::with_task_group(body);
        EXPECT_EQ(*value, 4);
        EXPECT_EQ(elapsed_ms(start), 5);
        int object = 0;
        auto reference = [&object](coro::task_group&) -> coro::task<int&> { co_return object; };
        EXPECT_EQ(&co_await coro::with_task_group(reference), &object);
    }());
}

TEST_F(task_group_test, children_may_spawn_siblings) {
    simulate([]() -> coro::task<> {
        struct fan {
            static coro::task<> out(coro::task_group& group, int& count, int depth) {
                ++count;
                if (depth == 0) co_return;
                group.spawn(out, std::ref(group), std::ref(count), depth - 1);
                group.spawn(out, std::ref(group), std::ref(count), depth - 1);
            }
        };
        int count = 0;
        auto body = [&count](coro::task_group& group) -> coro::task<> {
            co_await fan::out(group, count, 6);
        };
        co_await coro::with_task_group(body);
        EXPECT_EQ(count, 127);
    }());
}

TEST_F(task_group_test, the_callee_owns_the_closure) {
    auto counted = std::make_shared<int>(0);
    simulate([](std::shared_ptr<int>& held) -> coro::task<> {
        std::optional<coro::task<>> work;
        {
            const auto body = [held](coro::task_group&) -> coro::task<> {
                co_await coro::yield();
                ++*held;
            };
            work.emplace(coro::with_task_group(body));
        }
        co_await std::move(*work);
    }(counted));
    EXPECT_EQ(*counted, 1);
    EXPECT_EQ(counted.use_count(), 1);
}

// --- policy: cancel siblings

TEST_F(task_group_test, the_first_error_of_a_child_cancels_all_and_is_rethrown) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        bool body_cancelled = false;
        auto body = [&body_cancelled](coro::task_group& group) -> coro::task<> {
            group.spawn(sleep_task, 1h);
            group.spawn(fail_after, 2ms, 2);
            group.spawn(fail_after, 1ms, 1);
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
                body_cancelled = true;
                throw;
            }
        };
        try {
            co_await coro::with_task_group(body);
            ADD_FAILURE() << "must throw";
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "error 1");
        }
        EXPECT_TRUE(body_cancelled);
        EXPECT_EQ(elapsed_ms(start), 1);
    }());
}

TEST_F(task_group_test, when_the_body_throws_it_cancels_joins_and_rethrows) {
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        bool joined = false;
        auto body = [&joined](coro::task_group& group) -> coro::task<> {
            group.spawn([](bool& out) -> coro::task<> {
                try {
                    co_await coro::sleep_for(1h);
                } catch (const coro::cancelled&) {
                }
                co_await coro::shield(coro::sleep_for(3ms));
                out = true;
            }, std::ref(joined));
            co_await coro::yield();
            throw std::runtime_error("the body");
        };
        EXPECT_TRUE(co_await throws<std::runtime_error>(coro::with_task_group(body)));
        EXPECT_TRUE(joined);
        EXPECT_EQ(elapsed_ms(start), 3);
    }());
}

coro::task<> fail_when_cancelled(int number) {
    try {
        co_await coro::sleep_for(1h);
    } catch (const coro::cancelled&) {
        throw std::runtime_error("error " + std::to_string(number));
    }
}

coro::task<> many_failures(coro::group_options options) {
    auto body = [](coro::task_group& group) -> coro::task<> {
        for (int i = 1; i <= 20; ++i) group.spawn(fail_when_cancelled, i);
        co_await coro::yield();
        throw std::runtime_error("the body");
    };
    co_await coro::with_task_group(body, options);
}

TEST_F(task_group_test, up_to_sixteen_further_errors_are_kept_then_counted) {
    const report_log log;
    simulate([]() -> coro::task<> {
        coro::group_errors further;
        auto body = [](coro::task_group& group) -> coro::task<> {
            group.spawn(fail_after, 1ms, 0);
            for (int i = 1; i <= 20; ++i) group.spawn(fail_when_cancelled, i);
            co_return;
        };
        try {
            co_await coro::with_task_group(body, {.further = &further});
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "error 0");
        }
        EXPECT_EQ(further.count, coro::group_errors::kept_at_most);
        EXPECT_EQ(further.count, 16u);
        EXPECT_EQ(further.not_kept, 4u);
        try {
            std::rethrow_exception(further.kept.front());
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "error 1");
        }
    }());
    EXPECT_TRUE(log.lines.empty());
}

TEST_F(task_group_test, further_errors_that_nobody_keeps_are_counted_to_the_report_hook) {
    const report_log log;
    simulate([]() -> coro::task<> {
        EXPECT_TRUE(co_await throws<std::runtime_error>(many_failures({})));
    }());
    // The body's error comes out; those of all twenty children are further ones.
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_NE(log.lines[0].find("20 further errors of children"), std::string::npos)
        << log.lines[0];
}

/// What comes out of a group; empty if nothing does.
template <typename Body>
coro::task<std::string> error_text(Body& body, coro::group_options options = {}) {
    try {
        co_await coro::with_task_group(std::ref(body), options);
    } catch (const std::runtime_error& error) {
        co_return error.what();
    }
    co_return "";
}

TEST_F(task_group_test, an_error_of_a_child_after_the_bodys_is_told) {
    const report_log log;
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            group.spawn(fail_when_cancelled, 1);
            co_await coro::yield();
            throw std::runtime_error("the body");
        };
        EXPECT_EQ(co_await error_text(body), "the body");
    }());
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_NE(log.lines[0].find("1 further errors"), std::string::npos) << log.lines[0];
}

TEST_F(task_group_test, the_error_that_came_first_comes_out_and_the_bodys_is_kept) {
    const report_log log;
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<int> {
            group.spawn(fail_after, 1ms, 1);
            try {
                co_await coro::sleep_for(1h);
            } catch (const coro::cancelled&) {
                throw std::runtime_error("the body");
            }
            co_return 0;
        };
        coro::group_errors further;
        EXPECT_EQ(co_await error_text(body, {.further = &further}), "error 1");
        EXPECT_EQ(further.count, 1u);
        if (further.count == 0) co_return;
        try {
            std::rethrow_exception(further.kept[0]);
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "the body");
        }
    }());
    EXPECT_TRUE(log.lines.empty());
}

// --- policy: report and go on

TEST_F(task_group_test, report_and_go_on_keeps_none_and_cancels_nobody) {
    const report_log log;
    simulate([]() -> coro::task<> {
        bool other_ended = false;
        auto body = [&other_ended](coro::task_group& group) -> coro::task<int> {
            group.spawn({.name = "failing"}, fail_after, 1ms, 1);
            group.spawn([](bool& out) -> coro::task<> {
                co_await coro::sleep_for(5ms);
                out = true;
            }, std::ref(other_ended));
            co_await coro::sleep_for(2ms);
            co_return 6;
        };
        EXPECT_EQ(co_await coro::with_task_group(
                      body, {.policy = coro::on_error::report_and_go_on}),
                  6);
        EXPECT_TRUE(other_ended);
    }());
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_NE(log.lines[0].find("error 1"), std::string::npos) << log.lines[0];
    EXPECT_NE(log.lines[0].find("[failing]"), std::string::npos) << log.lines[0];
}

TEST_F(task_group_test, the_bodys_error_ends_a_group_that_goes_on_as_well) {
    const report_log log;
    simulate([]() -> coro::task<> {
        EXPECT_TRUE(co_await throws<std::runtime_error>(
            many_failures({.policy = coro::on_error::report_and_go_on})));
    }());
    EXPECT_EQ(log.lines.size(), 20u);
}

// --- cancellation

TEST_F(task_group_test,
       a_child_of_a_cancelled_group_starts_and_meets_cancelled_at_its_first_await) {
    simulate([]() -> coro::task<> {
        bool started = false;
        bool went_on = false;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.cancel();
            group.spawn([](bool& first, bool& second) -> coro::task<> {
                first = true;
                co_await coro::yield();
                second = true;
            }, std::ref(started), std::ref(went_on));
            co_return;
        };
        co_await coro::with_task_group(body);
        EXPECT_TRUE(started);
        EXPECT_FALSE(went_on);
    }());
}

TEST_F(task_group_test, a_group_that_cancels_itself_ends_normally) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            group.spawn(sleep_task, 1h);
            co_await coro::yield();
            group.cancel();
            co_await coro::sleep_for(1h);
        };
        const auto start = coro::now();
        co_await coro::with_task_group(body);
        EXPECT_EQ(elapsed_ms(start), 0);
    }());
}

TEST_F(task_group_test, cancelled_of_an_enclosing_scope_passes_through) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<int> {
            group.spawn(sleep_task, 1h);
            co_await coro::sleep_for(1h);
            co_return 1;
        };
        EXPECT_EQ(co_await coro::move_on_after(1ms, coro::with_task_group(body)), std::nullopt);
    }());
}

TEST_F(task_group_test, who_waits_for_children_that_were_cut_off_is_cancelled_too) {
    simulate([]() -> coro::task<> {
        bool went_on = false;
        auto body = [](coro::task_group& group) -> coro::task<> {
            group.spawn(sleep_task, 1h);
            co_return;  // has ended when the deadline comes: only the child still runs
        };
        auto work = [&]() -> coro::task<> {
            co_await coro::with_task_group(body);
            went_on = true;
        };
        EXPECT_FALSE(co_await coro::move_on_after(1ms, work()));
        EXPECT_FALSE(went_on) << "as if the child had done its work";
    }());
}

TEST_F(task_group_test, children_that_finish_in_spite_of_a_cancellation_were_not_cut_off) {
    simulate([]() -> coro::task<> {
        bool went_on = false;
        auto body = [](coro::task_group& group) -> coro::task<> {
            group.spawn([]() -> coro::task<> {
                while (!coro::is_cancelled()) {
                    try {
                        co_await coro::sleep_for(1h);
                    } catch (const coro::cancelled&) {
                    }
                }
            });
            co_return;
        };
        auto work = [&]() -> coro::task<> {
            co_await coro::with_task_group(body);
            went_on = true;
        };
        EXPECT_TRUE(co_await coro::move_on_after(1ms, work()));
        EXPECT_TRUE(went_on);
    }());
}

TEST_F(task_group_test, a_value_stands_although_children_were_cancelled) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<int> {
            group.spawn(sleep_task, 1h);
            co_await coro::yield();
            group.cancel();
            co_return 2;
        };
        EXPECT_EQ(co_await coro::with_task_group(body), 2);
    }());
}

TEST_F(task_group_test, a_stop_request_reaches_the_children) {
    simulate([]() -> coro::task<> {
        int stopped = 0;
        auto body = [&stopped](coro::task_group& group) -> coro::task<> {
            for (int i = 0; i < 3; ++i)
                group.spawn([](int& out) -> coro::task<> {
                    while (!coro::stop_requested()) co_await coro::sleep_for(1ms);
                    ++out;
                }, std::ref(stopped));
            co_await coro::sleep_for(5ms);
            group.request_stop();
            EXPECT_FALSE(group.is_cancelled());
        };
        co_await coro::with_task_group(body);
        EXPECT_EQ(stopped, 3);
    }());
}

// --- misuse

using task_group_death_test = task_group_test;

TEST_F(task_group_death_test, spawn_after_the_join_aborts_with_a_sentence) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     coro::detail::group_run run({});
                     run.group.spawn(sleep_task, 1ms);
                     co_await run.join();
                     run.leave();
                     run.group.spawn(sleep_task, 1ms);
                 }()),
                 "spawn into a task group that has ended");
}

TEST_F(task_group_death_test, spawn_of_a_task_that_was_moved_from_aborts) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     co_await coro::with_task_group([](coro::task_group& group) -> coro::task<> {
                         coro::task<> work = sleep_task(1ms);
                         group.spawn(std::move(work));
                         group.spawn(std::move(work));
                         co_return;
                     });
                 }()),
                 "spawn of a task that was moved from");
}

/// A task that was moved from.
coro::task<> taken() {
    const unstarted_tasks_expected dropped;
    coro::task<> work = sleep_task(1ms);
    [[maybe_unused]] const coro::task<> taker = std::move(work);
    return work;  // NOLINT: moved from on purpose
}
coro::task<> taken_by_a_function(std::string_view) { return taken(); }
struct taking {
    int state = 0;
    coro::task<> operator()() { return taken(); }
    coro::task<> member() { return taken(); }
};
template <typename... Call>
coro::task<> spawn_it(Call... call) {
    const auto body = [&](coro::task_group& group) -> coro::task<> {
        group.spawn(std::move(call)...);
        co_return;
    };
    co_await coro::with_task_group(body);
}

TEST_F(task_group_death_test, so_does_spawn_of_whatever_returns_such_a_task) {
    const auto spawned = "spawn of a task that was moved from";
    EXPECT_DEATH(simulate(spawn_it(taken)), spawned);
    EXPECT_DEATH(simulate(spawn_it(taken_by_a_function, std::string("text"))), spawned);
    EXPECT_DEATH(simulate(spawn_it(taking())), spawned);
    EXPECT_DEATH(simulate(spawn_it(&taking::member, taking())), spawned);
    EXPECT_DEATH(simulate(spawn_it(std::function<coro::task<>()>(taken))), spawned);
    EXPECT_DEATH(simulate(spawn_it([](auto) { return taken(); }, 1)),
                 "a task that was moved from was awaited");
}

TEST_F(task_group_death_test, spawn_of_a_task_that_has_ended_aborts) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     co_await coro::with_task_group([](coro::task_group& group) -> coro::task<> {
                         coro::task<> work = sleep_task(1ms);
                         co_await std::move(work);
                         group.spawn(std::move(work));
                     });
                 }()),
                 "spawn of a task that had been started before");
}

coro::task<> spawn_capturing(coro::task_group& group, int value) {
    auto capturing = [value]() -> coro::task<> {
        co_await coro::yield();
        (void)value;
    };
    group.spawn(capturing());
    co_return;
}

TEST_F(task_group_death_test, spawning_the_body_of_a_capturing_lambda_aborts_with_its_site) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     co_await coro::with_task_group(
                         [](coro::task_group& group) -> coro::task<> {
                             co_await spawn_capturing(group, 1);
                         });
                 }()),
                 "task_group_test.cpp:[0-9]+ .*: spawn of the body of a lambda with captures");
}

TEST_F(task_group_test, a_capturing_lambda_may_be_awaited_at_once) {
    simulate([]() -> coro::task<> {
        int value = 4;
        auto capturing = [&value]() -> coro::task<int> {
            co_await coro::yield();
            co_return value;
        };
        EXPECT_EQ(co_await capturing(), 4);
    }());
}

}  // namespace
}  // namespace coro_test
