// The end of groups: join() in a body, and what is spawned at the last moment. In all worlds.
#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>

#include <coro/core/when_any.hpp>
#include <coro/runtime/local_task_group.hpp>
#include <coro/runtime/loop_handle.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class group_join_test : public world_test {
protected:
    void run_here(task<> work) { run(std::move(work), options_for(GetParam())); }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, group_join_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

task<> add_later(int& number, int more) {
    co_await sleep_for(1ms);
    number += more;
}

TEST_P(group_join_test, a_body_that_joins_may_lend_its_variables_and_spawn_again) {
    const auto work = []() -> task<> {
        const auto body = [](task_group& group) -> task<int> {
            int number = 0;
            group.spawn(add_later, std::ref(number), 1);
            group.spawn(add_later, std::ref(number), 2);
            co_await group.join();
            EXPECT_EQ(number, 3);
            EXPECT_EQ(group.size(), 0u);
            co_await group.join();  // there is nobody to wait for
            group.spawn(add_later, std::ref(number), 4);
            co_await group.join();
            co_return number;
        };
        const int number = co_await with_task_group(body);
        EXPECT_EQ(number, 7);
    };
    run_here(work());
}

task<> spawn_more(task_group& group, int& number, int left) {
    co_await sleep_for(1ms);
    ++number;
    if (left > 0) group.spawn(spawn_more, std::ref(group), std::ref(number), left - 1);
}

TEST_P(group_join_test, children_that_are_spawned_meanwhile_are_waited_for) {
    const auto work = []() -> task<> {
        const auto body = [](task_group& group) -> task<> {
            int number = 0;
            group.spawn(spawn_more, std::ref(group), std::ref(number), 9);
            co_await group.join();
            EXPECT_EQ(number, 10);
        };
        co_await with_task_group(body);
    };
    run_here(work());
}

TEST_P(group_join_test, a_cancelled_group_is_joined_before_cancelled_is_thrown) {
    const auto work = []() -> task<> {
        bool went_on = false;
        const auto body = [&went_on](task_group& group) -> task<> {
            int ended = 0;
            const auto child = [](int& count) -> task<> {
                try {
                    co_await sleep_for(1h);
                } catch (const cancelled&) {
                    ++count;
                }
                co_await shield(sleep_for(1ms));
                ++count;
            };
            for (int i = 0; i < 3; ++i) group.spawn(child, std::ref(ended));
            co_await yield();
            group.cancel();
            try {
                co_await group.join();
                went_on = true;
            } catch (const cancelled&) {
                EXPECT_EQ(ended, 6);
                throw;
            }
        };
        co_await with_task_group(body);
        EXPECT_FALSE(went_on);
    };
    run_here(work());
}

TEST_P(group_join_test, the_error_of_a_child_ends_the_join_and_comes_out_of_the_group) {
    const auto work = []() -> task<> {
        int number = 0;
        const auto body = [&number](task_group& group) -> task<> {
            int own = 0;
            group.spawn([](int& count) -> task<> {
                try {
                    co_await sleep_for(1h);
                } catch (const cancelled&) {
                    ++count;
                    throw;
                }
            }, std::ref(own));
            group.spawn([]() -> task<> {
                co_await sleep_for(1ms);
                throw std::runtime_error("of a child");
            });
            try {
                co_await group.join();
            } catch (const cancelled&) {
                number = own;
                throw;
            }
        };
        bool thrown = false;
        try {
            co_await with_task_group(body);
        } catch (const std::runtime_error&) {
            thrown = true;
        }
        EXPECT_TRUE(thrown);
        EXPECT_EQ(number, 1);
    };
    run_here(work());
}

TEST_P(group_join_test, a_deadline_inside_of_the_body_ends_the_join_alone) {
    const auto work = []() -> task<> {
        int number = 0;
        event go;
        const auto body = [&number, &go](task_group& group) -> task<> {
            const auto child = [](event& start, int& count) -> task<> {
                co_await start.wait();
                ++count;
            };
            group.spawn(child, std::ref(go), std::ref(number));
            const bool in_time = co_await move_on_after(duration::zero(), group.join());
            EXPECT_FALSE(in_time);
            EXPECT_EQ(group.size(), 1u);
            EXPECT_FALSE(group.is_cancelled());
            auto first = co_await when_any(group.join(), yield());
            EXPECT_EQ(first.index(), 1u);
            go.set();
            const bool all = co_await move_on_after(1h, group.join());
            EXPECT_TRUE(all);
            EXPECT_EQ(number, 1);
        };
        co_await with_task_group(body);
    };
    run_here(work());
}

// --- a group whose last child has ended, but which has not returned

struct late_spawner {
    task_group* group = nullptr;
    bool over = false;
    int spawned = 0;
    int ended = 0;
    bool has_run = false;

    /// Ends in the turn in which it was resumed together with the last child.
    void spawn_if_possible() {
        if (over) return;
        ++spawned;
        group->spawn([](int& count) -> task<> {
            co_await yield();
            ++count;
        }, std::ref(ended));
    }
};

task<> spawn_at_the_end(late_spawner& late, event& told) {
    co_await told.wait();
    EXPECT_EQ(late.group->size(), 0u);
    late.spawn_if_possible();
    late.spawn_if_possible();
}
/// The last child: whom it tells is resumed after its end, and before who waits for the group.
task<> tell_and_end(event& told) {
    co_await yield();
    told.set();
}

TEST_P(group_join_test, what_is_spawned_between_the_last_end_and_the_return_is_waited_for) {
    const auto work = []() -> task<> {
        late_spawner late;
        event told;
        const auto body = [&](task_group& outer) -> task<> {
            outer.spawn(spawn_at_the_end, std::ref(late), std::ref(told));
            const auto inner = [&](task_group& group) -> task<> {
                late.group = &group;
                group.spawn(tell_and_end, std::ref(told));
                co_return;
            };
            co_await with_task_group(inner);
            late.over = true;
        };
        co_await with_task_group(body);
        EXPECT_EQ(late.spawned, 2);
        EXPECT_EQ(late.ended, 2);
    };
    run_here(work());
}

TEST_P(group_join_test, the_same_for_the_join_of_a_body) {
    const auto work = []() -> task<> {
        late_spawner late;
        event told;
        const auto body = [&](task_group& outer) -> task<> {
            outer.spawn(spawn_at_the_end, std::ref(late), std::ref(told));
            const auto inner = [&](task_group& group) -> task<> {
                late.group = &group;
                group.spawn(tell_and_end, std::ref(told));
                co_await group.join();
                EXPECT_EQ(late.ended, 2);
                late.over = true;
            };
            co_await with_task_group(inner);
        };
        co_await with_task_group(body);
        EXPECT_EQ(late.spawned, 2);
    };
    run_here(work());
}

TEST_P(group_join_test, the_same_for_a_group_of_a_fiber) {
    const auto work = []() -> task<> {
        late_spawner late;
        event told;
        const auto body = [&](task_group& outer) -> task<> {
            outer.spawn(spawn_at_the_end, std::ref(late), std::ref(told));
            const auto inner = [&] {
                local_task_group group;
                late.group = &group;
                group.spawn(tell_and_end, std::ref(told));
                group.join();
                late.over = true;
                EXPECT_EQ(late.ended, 2);
            };
            co_await fiber(inner);
        };
        co_await with_task_group(body);
        EXPECT_EQ(late.spawned, 2);
    };
    run_here(work());
}

TEST_P(group_join_test, a_post_that_spawns_at_the_last_moment_is_waited_for) {
    const auto work = []() -> task<> {
        late_spawner late;
        const loop_handle here = loop_handle::of_this_loop();
        const auto inner = [&](task_group& group) -> task<> {
            late.group = &group;
            const auto child = [](late_spawner& spawner, const loop_handle& loop) -> task<> {
                co_await yield();
                loop.post([&spawner] {
                    spawner.spawn_if_possible();
                    spawner.has_run = true;
                });
            };
            group.spawn(child, std::ref(late), here);
            co_return;
        };
        co_await with_task_group(inner);
        late.over = true;
        EXPECT_EQ(late.ended, late.spawned);  // none, where the group has returned before the post
        while (!late.has_run) co_await yield();
    };
    run_here(work());
}

class group_join_loops_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, group_join_loops_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

struct post_from_elsewhere {
    late_spawner late;
    loop_handle home = loop_handle::of_this_loop();
    std::atomic<bool> has_posted{false};

    task<> post() {
        home.post([this] {
            EXPECT_EQ(late.group->size(), 0u);
            late.spawn_if_possible();
        });
        has_posted = true;
        co_return;
    }
};

/// The message that the last child has ended and the post come in one turn, in this order: this
/// loop is held until both have been sent.
TEST_P(group_join_loops_test, the_last_child_may_have_ended_on_another_loop) {
    const auto work = []() -> task<> {
        post_from_elsewhere of;
        const auto body = [&of](task_group& outer) -> task<> {
            const auto inner = [&](task_group& group) -> task<> {
                of.late.group = &group;
                group.spawn({.loop = 1}, []() -> task<> { co_return; });
                outer.spawn({.loop = 1}, &post_from_elsewhere::post, std::ref(of));
                while (!of.has_posted) std::this_thread::yield();
                co_return;
            };
            co_await with_task_group(inner);
            of.late.over = true;
        };
        co_await with_task_group(body);
        EXPECT_EQ(of.late.spawned, 1);
        EXPECT_EQ(of.late.ended, 1);
    };
    in_loops(2, work());
}

// --- misuse

class group_join_death_test : public group_join_test {
protected:
    void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
    void run_here(task<> (*work)()) { group_join_test::run_here(work()); }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, group_join_death_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

task<> join_in_a_child() {
    co_await with_task_group([](task_group& group) -> task<> {
        const auto child = [](task_group& of) -> task<> { co_await of.join(); };
        group.spawn(child, std::ref(group));
        co_return;
    });
}
task<> join_in_a_child_of_a_child() {
    co_await with_task_group([](task_group& group) -> task<> {
        const auto child = [](task_group& of) -> task<> {
            co_await with_timeout(1h, when_all(of.join(), yield()));
        };
        group.spawn(child, std::ref(group));
        co_return;
    });
}
task<> join_twice_at_once() {
    co_await with_task_group([](task_group& group) -> task<> {
        group.spawn([]() -> task<> { co_await sleep_for(20s); });
        co_await when_all(group.join(), group.join());
    });
}

TEST_P(group_join_death_test, a_join_by_a_child_and_two_at_once_abort) {
    EXPECT_DEATH(run_here(join_in_a_child), "join of a task group outside of its body");
    EXPECT_DEATH(run_here(join_in_a_child_of_a_child), "join of a task group outside of its body");
    EXPECT_DEATH(run_here(join_twice_at_once), "two joins of a task group at once");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
