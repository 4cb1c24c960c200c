// The task group of a fiber: joined by hand, or cancelled and joined by its destructor.
#include <coro/runtime/local_task_group.hpp>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <coro/runtime/await.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class local_task_group_test : public core_test {};

/// Notes that it has ended, in whatever way.
struct end_mark {
    int& count;
    ~end_mark() { ++count; }
};

TEST_F(local_task_group_test, join_throws_cancelled_when_a_child_was_cut_off_from_outside) {
    simulate([]() -> coro::task<> {
        bool went_on = false;
        auto work = coro::fiber([&went_on] {
            coro::local_task_group group;
            group.spawn([]() -> coro::task<> { co_await coro::sleep_for(1h); });
            group.join();
            went_on = true;
        });
        EXPECT_FALSE(co_await coro::move_on_after(1ms, std::move(work)));
        EXPECT_FALSE(went_on);
    }());
}

TEST_F(local_task_group_test, join_waits_for_tasks_and_fibers) {
    simulate(coro::fiber([] {
        int ended = 0;
        coro::local_task_group group;
        group.spawn_fiber([&ended] {
            const end_mark mark{ended};
            coro::await(coro::sleep_for(2ms));
        });
        group.spawn([](int& count) -> coro::task<> {
            co_await coro::sleep_for(1ms);
            ++count;
        }, std::ref(ended));
        EXPECT_EQ(ended, 0);
        group.join();
        EXPECT_EQ(ended, 2);
        EXPECT_EQ(group.size(), 0u);
    }));
}

TEST_F(local_task_group_test, join_throws_the_first_error_when_the_others_have_ended) {
    simulate(coro::fiber([] {
        int ended = 0;
        coro::local_task_group group;
        group.spawn_fiber([&ended] {
            const end_mark mark{ended};
            coro::await(coro::sleep_for(1h));
        });
        group.spawn_fiber([] {
            coro::await(coro::sleep_for(1ms));
            throw std::runtime_error("first");
        });
        coro::await(coro::sleep_for(2ms));  // this code is not in the group's scope
        EXPECT_TRUE(group.is_cancelled());
        EXPECT_THROW(group.join(), std::runtime_error);
        EXPECT_EQ(ended, 1);
    }));
}

TEST_F(local_task_group_test, the_destructor_cancels_and_waits) {
    simulate(coro::fiber([] {
        int ended = 0;
        const coro::time_point start = coro::now();
        {
            coro::local_task_group group;
            group.spawn_fiber([&ended] {
                const end_mark mark{ended};
                coro::await(coro::sleep_for(1h));
            });
            coro::await(coro::sleep_for(1ms));
        }
        EXPECT_EQ(ended, 1);
        EXPECT_EQ(elapsed_ms(start), 1);
    }));
}

TEST_F(local_task_group_test, unwinding_cancels_and_waits_and_the_exception_goes_on) {
    int ended = 0;
    const bool thrown = simulate(throws<std::logic_error>(coro::fiber([&ended] {
        coro::local_task_group group;
        group.spawn_fiber([&ended] {
            const end_mark mark{ended};
            try {
                coro::await(coro::sleep_for(1h));
            } catch (const coro::cancelled&) {
                coro::await(coro::shield(coro::sleep_for(5ms)));
                throw;
            }
        });
        coro::await(coro::yield());
        throw std::logic_error("of the body");
    })));
    EXPECT_TRUE(thrown);
    EXPECT_EQ(ended, 1);
}

TEST_F(local_task_group_test, errors_that_nobody_joined_for_are_reported) {
    report_log log;
    simulate(coro::fiber([] {
        coro::local_task_group group;
        group.spawn_fiber([] { throw std::runtime_error("unseen"); });
        coro::await(coro::yield());
    }));
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_NE(log.lines[0].find("nobody joined ended with this error: unseen"),
              std::string::npos)
        << log.lines[0];
}

TEST_F(local_task_group_test, errors_beyond_the_first_are_kept_or_counted) {
    report_log log;
    simulate(coro::fiber([&log] {
        const auto fail = [] { throw std::runtime_error("one of three"); };
        coro::group_errors further;
        for (coro::group_errors* const kept : std::initializer_list<coro::group_errors*>{
                 &further, nullptr}) {
            coro::local_task_group group({.further = kept});
            for (int i = 0; i < 3; ++i) group.spawn_fiber(fail);
            EXPECT_THROW(group.join(), std::runtime_error);
        }
        EXPECT_EQ(further.count, 2u);
        ASSERT_EQ(log.lines.size(), 1u);
        EXPECT_NE(log.lines[0].find("2 further errors"), std::string::npos) << log.lines[0];
    }));
}

TEST_F(local_task_group_test, children_inherit_cancellation_and_deadline) {
    simulate(coro::fiber([] {
        int ended = 0;
        const auto inner = [&ended] {
            coro::local_task_group group;
            group.spawn_fiber([&ended] {
                const end_mark mark{ended};
                EXPECT_EQ(coro::time_remaining(), 5ms);
                coro::await(coro::sleep_for(1h));
            });
            group.join();
            EXPECT_TRUE(coro::is_cancelled());
            coro::await(coro::yield());
            ADD_FAILURE() << "went on in a cancelled scope";
        };
        EXPECT_FALSE(coro::await(coro::move_on_after(5ms, coro::fiber(inner))));
        EXPECT_EQ(ended, 1);
    }));
}

TEST_F(local_task_group_test, groups_nest) {
    int ended = 0;
    simulate(coro::fiber([&ended] {
        coro::local_task_group outer;
        outer.spawn_fiber([&ended] {
            coro::local_task_group inner;
            for (int i = 0; i < 3; ++i)
                inner.spawn_fiber([&ended] {
                    coro::await(coro::sleep_for(1ms));
                    ++ended;
                });
            inner.join();
            ++ended;
        });
        outer.join();
        ++ended;
    }));
    EXPECT_EQ(ended, 5);
}

/// Who has it as a task_group& waits by the join of that, which is hidden here.
void spawn_and_wait(coro::task_group& group, int& ended) {
    const auto work = [](int& count) -> coro::task<> {
        co_await coro::sleep_for(1ms);
        ++count;
    };
    group.spawn(work, std::ref(ended));
    coro::await(group.join());
}

TEST_F(local_task_group_test, the_join_of_its_base_waits_and_does_not_end_it) {
    simulate(coro::fiber([] {
        coro::local_task_group group;
        int ended = 0;
        spawn_and_wait(group, ended);
        EXPECT_EQ(ended, 1);
        spawn_and_wait(group, ended);
        EXPECT_EQ(ended, 2);
        group.spawn_fiber([] { throw std::runtime_error("of a child"); });
        coro::await(static_cast<coro::task_group&>(group).join());
        EXPECT_TRUE(group.is_cancelled());
        EXPECT_THROW(group.join(), std::runtime_error);
    }));
}

using local_task_group_death_test = local_task_group_test;

TEST_F(local_task_group_death_test, outside_of_a_fiber_it_aborts) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
        const coro::local_task_group group;
        co_return;
    }()), "a local_task_group outside of a fiber: in a coroutine use with_task_group");
}

TEST_F(local_task_group_death_test, joining_twice_aborts) {
    EXPECT_DEATH(simulate(coro::fiber([] {
        coro::local_task_group group;
        group.join();
        group.join();
    })), "joined twice");
}

TEST_F(local_task_group_death_test, spawning_after_the_join_aborts) {
    EXPECT_DEATH(simulate(coro::fiber([] {
        coro::local_task_group group;
        group.join();
        group.spawn_fiber([] {});
    })), "spawn into a task group that has ended");
}

TEST_F(local_task_group_death_test, joining_from_another_fiber_aborts) {
    EXPECT_DEATH(simulate(coro::fiber([] {
        coro::local_task_group group;
        coro::local_task_group other;
        other.spawn_fiber([&group] { group.join(); });
        other.join();
    })), "outside of the fiber that made it");
}

}  // namespace
}  // namespace coro_test
