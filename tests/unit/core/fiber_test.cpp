// Fibers: they await tasks and are awaited by them, in one strand; cancellation, deadlines, locks
// and channels are the same for both; the stack stays bounded.
#include <coro/core/fiber.hpp>

#include <array>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/when_all.hpp>
#include <coro/core/when_any.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/mutex.hpp>
#include <coro/runtime/semaphore.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class fiber_test : public core_test {};

coro::task<int> sum_task(int a, int b) {
    co_await coro::sleep_for(1ms);
    co_return a + b;
}

int sum_in_fiber(int a, int b) {
    coro::await(coro::sleep_for(1ms));
    return coro::await(sum_task(a, b));
}

TEST_F(fiber_test, a_task_awaits_a_fiber_which_awaits_a_task) {
    const int value = simulate([]() -> coro::task<int> {
        const int half = co_await coro::fiber(sum_in_fiber, 10, 11);
        co_return half + co_await coro::fiber(sum_in_fiber, 10, 11);
    }());
    EXPECT_EQ(value, 42);
}

TEST_F(fiber_test, main_may_be_a_fiber) {
    EXPECT_EQ(simulate(coro::fiber(sum_in_fiber, 20, 22)), 42);
}

TEST_F(fiber_test, fibers_nest) {
    const auto outer = [](int depth, const auto& self) -> int {
        coro::await(coro::sleep_for(1ms));
        if (depth == 0) return 1;
        return 1 + coro::await(coro::fiber(self, depth - 1, std::cref(self)));
    };
    EXPECT_EQ(simulate(coro::fiber(outer, 20, std::cref(outer))), 21);
}

TEST_F(fiber_test, one_that_never_waits_ends_in_place) {
    const bool at_once = simulate([]() -> coro::task<bool> {
        bool other = false;
        bool result = false;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn([](bool& ran) -> coro::task<> { ran = true; co_return; }, std::ref(other));
            const int value = co_await coro::fiber([] { return 7; });
            result = value == 7 && !other;  // no trip through the run queue
        };
        co_await coro::with_task_group(body);
        co_return result;
    }());
    EXPECT_TRUE(at_once);
}

TEST_F(fiber_test, waits_in_functions_that_it_calls) {
    struct parser {
        static int digit(mailbox& from) { return coro::await(from.take()); }
        static int number(mailbox& from) { return 10 * digit(from) + digit(from); }
    };
    const int value = simulate([]() -> coro::task<int> {
        mailbox box;
        int result = 0;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([&] { result = parser::number(box); });
            co_await coro::sleep_for(1ms);
            box.put(4);
            co_await coro::sleep_for(1ms);
            box.put(2);
        };
        co_await coro::with_task_group(body);
        co_return result;
    }());
    EXPECT_EQ(value, 42);
}

TEST_F(fiber_test, values_may_be_void_references_or_movable_only) {
    simulate([]() -> coro::task<> {
        int variable = 1;
        co_await coro::fiber([&] { variable = 2; });
        EXPECT_EQ(variable, 2);
        int& same = co_await coro::fiber([&]() -> int& { return variable; });
        EXPECT_EQ(&same, &variable);
        auto owned = co_await coro::fiber([] { return std::make_unique<int>(5); });
        EXPECT_EQ(*owned, 5);
        auto back = co_await coro::fiber([](std::unique_ptr<int> given) { return given; },
                                         std::move(owned));
        EXPECT_EQ(*back, 5);
        co_await coro::fiber([](int& changed) { changed = 3; }, std::ref(variable));
        EXPECT_EQ(variable, 3);
    }());
}

TEST_F(fiber_test, exceptions_come_out_of_the_await_both_ways) {
    const std::string text = simulate([]() -> coro::task<std::string> {
        auto body = [] {
            try {
                coro::await(failure_after(1ms, "task"));
            } catch (const std::runtime_error& error) {
                throw std::runtime_error(std::string(error.what()) + ", fiber");
            }
        };
        try {
            co_await coro::fiber(body);
        } catch (const std::runtime_error& error) {
            co_return error.what();
        }
        co_return "";
    }());
    EXPECT_EQ(text, "task, fiber");
}

TEST_F(fiber_test, one_that_was_never_awaited_destroys_its_arguments_and_runs_nothing) {
    const dropped_tasks dropped;
    auto kept = std::make_shared<int>(1);
    bool ran = false;
    {
        auto body = [&ran](std::shared_ptr<int>) { ran = true; };
        auto unused = coro::fiber(body, kept);
        EXPECT_EQ(kept.use_count(), 2);
    }
    EXPECT_EQ(kept.use_count(), 1);
    EXPECT_FALSE(ran);
}

TEST_F(fiber_test, children_of_a_group_run_side_by_side) {
    std::string order;
    simulate([](std::string& out) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            const auto fiber = [&out](char name) {
                out += name;
                coro::await(coro::yield());
                out += name;
            };
            group.spawn_fiber(fiber, 'a');
            group.spawn_fiber({.name = "b"}, fiber, 'b');
            group.spawn([](std::string& to) -> coro::task<> {
                to += 'c';
                co_await coro::yield();
                to += 'c';
            }, std::ref(out));
            EXPECT_EQ(out, "");  // queued, never run in place
            co_return;
        };
        co_await coro::with_task_group(body);
    }(order));
    EXPECT_EQ(order, "abcabc");
}

TEST_F(fiber_test, the_first_error_of_a_fiber_cancels_its_siblings) {
    bool cancelled = false;
    const bool thrown = simulate(throws<std::runtime_error>([](bool& seen) -> coro::task<> {
        auto body = [&seen](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([&seen] {
                try {
                    coro::await(coro::sleep_for(1h));
                } catch (const coro::cancelled&) {
                    seen = true;
                    throw;
                }
            });
            group.spawn_fiber([] {
                coro::await(coro::sleep_for(1ms));
                throw std::runtime_error("fiber");
            });
            co_return;
        };
        co_await coro::with_task_group(body);
    }(cancelled)));
    EXPECT_TRUE(thrown);
    EXPECT_TRUE(cancelled);
}

TEST_F(fiber_test, cancellation_unwinds_its_stack) {
    struct mark {
        int& count;
        ~mark() { ++count; }
    };
    int unwound = 0;
    simulate([](int& out) -> coro::task<> {
        auto body = [&out](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([&out] {
                const mark outer{out};
                const auto inner = [&out] {
                    const mark local{out};
                    coro::await(coro::sleep_for(1h));
                };
                inner();
            });
            co_await coro::sleep_for(1ms);
            group.cancel();
        };
        co_await coro::with_task_group(body);
    }(unwound));
    EXPECT_EQ(unwound, 2);
}

TEST_F(fiber_test, in_a_cancelled_scope_every_await_throws_at_entry) {
    int thrown = 0;
    simulate([](int& out) -> coro::task<> {
        auto body = [&out](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([&out] {
                coro::event set;
                set.set();
                for (int i = 0; i < 3; ++i) {
                    try {
                        coro::await(set.wait());
                    } catch (const coro::cancelled&) {
                        ++out;
                    }
                }
            });
            group.cancel();
            co_return;
        };
        co_await coro::with_task_group(body);
    }(thrown));
    EXPECT_EQ(thrown, 3);
}

TEST_F(fiber_test, who_swallows_cancelled_goes_through_the_run_queue_and_is_reported) {
    report_log log;
    int others = 0;
    simulate([](int& out) -> coro::task<> {
        auto body = [&out](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber({.name = "stubborn"}, [] {
                for (int i = 0; i < 1100; ++i) {
                    try {
                        coro::await(coro::yield());
                    } catch (const coro::cancelled&) {
                    }
                }
            });
            group.cancel();
            for (int i = 0; i < 50; ++i) {
                try {
                    co_await coro::shield(coro::yield());
                } catch (const coro::cancelled&) {
                }
                ++out;
            }
        };
        co_await coro::with_task_group(body);
    }(others));
    EXPECT_EQ(others, 50);
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_NE(log.lines[0].find("fiber_test.cpp:"), std::string::npos) << log.lines[0];
    EXPECT_NE(log.lines[0].find("[stubborn]"), std::string::npos) << log.lines[0];
}

TEST_F(fiber_test, deadlines_are_the_same_inside_and_around) {
    simulate(coro::fiber([] {
        const coro::time_point start = coro::now();
        EXPECT_THROW(coro::await(coro::with_timeout(5ms, coro::sleep_for(1h))), coro::io_error);
        EXPECT_EQ(elapsed_ms(start), 5);
        EXPECT_FALSE(coro::await(coro::move_on_after(5ms, sleep_task(1h))));
        EXPECT_EQ(elapsed_ms(start), 10);
        const auto inner = [] {
            EXPECT_EQ(coro::time_remaining(), 7ms);
            coro::await(coro::sleep_for(1h));
        };
        EXPECT_FALSE(coro::await(coro::move_on_after(7ms, coro::fiber(inner))));
        EXPECT_EQ(elapsed_ms(start), 17);
        EXPECT_EQ(coro::current_deadline(), coro::never);
    }));
}

TEST_F(fiber_test, combinators_run_fibers_as_branches) {
    simulate(coro::fiber([] {
        const auto value = [](int ms, int result) {
            coro::await(coro::sleep_for(std::chrono::milliseconds(ms)));
            return result;
        };
        const auto [a, b] = coro::await(
            coro::when_all(coro::fiber(value, 2, 1), value_after(1ms, 2)));
        EXPECT_EQ(a + b, 3);
        auto first = coro::await(coro::when_any(coro::fiber(value, 2, 1),
                                                coro::fiber(value, 3, 2), coro::sleep_for(1ms)));
        EXPECT_EQ(first.index(), 2u);
        EXPECT_FALSE(first.has_value<0>());
        const auto error = coro::await(coro::as_result(coro::with_timeout(
            1ms, coro::sleep_for(1h))));
        EXPECT_FALSE(error.has_value());
    }));
}

TEST_F(fiber_test, a_mutex_is_granted_in_the_order_of_arrival_to_tasks_and_fibers) {
    std::string order;
    simulate([](std::string& out) -> coro::task<> {
        coro::mutex guard;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            const auto held = co_await guard.lock();
            const auto fiber = [&](char name) {
                const auto mine = coro::await(guard.lock());
                out += name;
                coro::await(coro::sleep_for(1ms));
            };
            const auto task = [](coro::mutex& lock, std::string& to) -> coro::task<> {
                const auto mine = co_await lock.lock();
                to += 't';
                co_await coro::sleep_for(1ms);
            };
            group.spawn_fiber(fiber, 'a');
            group.spawn(task, std::ref(guard), std::ref(out));
            group.spawn_fiber(fiber, 'b');
            co_await coro::sleep_for(1ms);
        };
        co_await coro::with_task_group(body);
    }(order));
    EXPECT_EQ(order, "atb");
}

TEST_F(fiber_test, channels_connect_tasks_and_fibers) {
    for (const std::size_t capacity : {0u, 3u}) {
        std::vector<int> received;
        simulate([](std::vector<int>& out, std::size_t room) -> coro::task<> {
            coro::channel<int> numbers(room);
            coro::channel<int> doubled(room);
            auto body = [&](coro::task_group& group) -> coro::task<> {
                group.spawn_fiber([&] {
                    while (const auto number = coro::await(numbers.receive()))
                        coro::await(doubled.send(2 * *number));
                    doubled.close();
                });
                group.spawn_fiber([&] {
                    while (const auto number = coro::await(doubled.receive()))
                        out.push_back(*number);
                });
                for (int i = 0; i < 100; ++i) co_await numbers.send(i);
                numbers.close();
            };
            co_await coro::with_task_group(body);
        }(received, capacity));
        ASSERT_EQ(received.size(), 100u);
        EXPECT_EQ(std::accumulate(received.begin(), received.end(), 0), 9900);
    }
}

TEST_F(fiber_test, a_cancelled_wait_for_a_lock_takes_nothing) {
    simulate(coro::fiber([] {
        coro::semaphore slots(1);
        const auto held = coro::await(slots.acquire());
        EXPECT_FALSE(coro::await(coro::move_on_after(1ms, slots.acquire())).has_value());
        EXPECT_EQ(slots.available(), 0u);
    }));
}

TEST_F(fiber_test, ten_million_ready_awaits_in_a_small_stack) {
    static const int count = scaled(10'000'000);
    EXPECT_EQ(simulate(coro::fiber([] {
        coro::event set;
        set.set();
        int sum = 0;
        for (int i = 0; i < count; ++i) {
            coro::await(set.wait());
            ++sum;
        }
        return sum;
    })), count);
}

coro::task<int> ready_task() { co_return 1; }

TEST_F(fiber_test, a_million_tasks_that_end_at_once_in_a_small_stack) {
    static const int count = scaled(1'000'000);
    EXPECT_EQ(simulate(coro::fiber([] {
        int sum = 0;
        for (int i = 0; i < count; ++i) sum += coro::await(ready_task());
        return sum;
    })), count);
}

coro::task<int> recursion(int depth) {
    if (depth == 0) co_return 0;
    co_return 1 + co_await recursion(depth - 1);
}

TEST_F(fiber_test, recursion_of_a_million_tasks_from_a_small_stack) {
    static const int depth = scaled(1'000'000);
    EXPECT_EQ(simulate(coro::fiber([] { return coro::await(recursion(depth)); })), depth);
}

TEST_F(fiber_test, tasks_nest_eight_deep_on_its_stack_and_then_on_the_loops) {
    // A task that the fiber starts runs in place, eight levels deep; the ninth runs on the loop's
    // stack, and ends there.
    std::vector<bool> on_fiber;
    simulate(coro::fiber([&on_fiber] {
        struct levels {
            static coro::task<> go(std::vector<bool>& out, int depth) {
                out.push_back(coro::detail::current->fiber != nullptr);
                if (depth != 0) co_await go(out, depth - 1);
            }
        };
        coro::await(levels::go(on_fiber, 11));
    }));
    ASSERT_EQ(on_fiber.size(), 12u);
    for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(on_fiber[i], i < 8) << i;
}

TEST_F(fiber_test, a_fiber_stays_on_its_thread) {
    simulate(coro::fiber([] {
        const std::thread::id mine = std::this_thread::get_id();
        for (int i = 0; i < 10; ++i) {
            coro::await(coro::sleep_for(1ms));
            EXPECT_EQ(std::this_thread::get_id(), mine);
        }
    }));
}

TEST_F(fiber_test, loops_of_two_threads_have_their_own_fibers) {
    std::array<int, 2> sums{};
    const auto work = [](int& sum) {
        simulate(coro::fiber([&sum] {
            for (int i = 0; i < 1000; ++i) {
                coro::await(coro::yield());
                sum += coro::await(coro::fiber([i] { return i; }));
            }
        }));
    };
    std::thread other([&] { work(sums[0]); });
    work(sums[1]);
    other.join();
    EXPECT_EQ(sums[0], 499500);
    EXPECT_EQ(sums[1], 499500);
}

TEST_F(fiber_test, stacks_have_the_size_that_was_asked_for) {
    const auto use = [](std::size_t bytes) {
        std::vector<char> result(1);
        auto* block = static_cast<volatile char*>(__builtin_alloca(bytes));
        for (std::size_t at = 0; at < bytes; at += 1024) block[at] = 1;
        coro::await(coro::yield());
        return block[0];
    };
    simulate([](auto consume) -> coro::task<> {
        EXPECT_EQ(co_await coro::fiber({.stack_bytes = 1 << 20}, consume, 1'000'000u), 1);
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber({.stack_bytes = 4 << 20},
                              [&] { EXPECT_EQ(consume(4'000'000u), 1); });
            co_return;
        };
        co_await coro::with_task_group(body);
    }(use));
}

TEST_F(fiber_test, a_stack_that_cannot_be_had_is_an_error_with_a_reason) {
    const std::string text = simulate([]() -> coro::task<std::string> {
        try {
            co_await coro::fiber({.stack_bytes = std::size_t{1} << 40}, [] {});
        } catch (const coro::io_error& error) {
            EXPECT_EQ(error.code(), std::errc::invalid_argument);
            co_return error.what();
        }
        co_return "";
    }());
    EXPECT_NE(text.find("fiber stack of 1073741824 KiB, at most 262144"), std::string::npos)
        << text;
}

// --- lambdas and aggregates: what is a trap for coroutines is none for fibers

struct order {
    std::string text;
    std::vector<int> numbers;
    std::shared_ptr<int> counted;
};

TEST_F(fiber_test, capturing_lambdas_and_aggregates_are_fine_as_bodies_and_arguments) {
    auto counted = std::make_shared<int>(0);
    std::string seen;
    simulate([](std::shared_ptr<int> count, std::string& out) -> coro::task<> {
        auto body = [count, &out](coro::task_group& group) -> coro::task<> {
            const std::string long_text(100, 'x');
            // a temporary closure with captures that own memory
            group.spawn_fiber([long_text, count, &out] {
                coro::await(coro::sleep_for(1ms));
                out += long_text.substr(0, 1);
                ++*count;
            });
            // a temporary aggregate that owns memory, by value and by reference
            group.spawn_fiber([&out](order mine) {
                coro::await(coro::sleep_for(2ms));
                out += mine.text;
                ++*mine.counted;
            }, order{"a long text, on the heap for certain", {1, 2, 3}, count});
            group.spawn_fiber([&out](const order& mine) {
                coro::await(coro::sleep_for(3ms));
                out += std::to_string(mine.numbers.size());
                ++*mine.counted;
            }, order{"another long text, on the heap as well", {1, 2, 3}, count});
            // an initializer list, and a reference to an argument, which lives in the fiber
            group.spawn_fiber([&out](const std::vector<int>& numbers, std::string&& text) {
                coro::await(coro::sleep_for(4ms));
                out += std::to_string(numbers.size()) + text;
            }, std::vector<int>({1, 2}), std::string("!"));
            co_return;
        };
        co_await coro::with_task_group(body);
    }(counted, seen));
    EXPECT_EQ(seen, "xa long text, on the heap for certain32!");
    EXPECT_EQ(*counted, 3);
    EXPECT_EQ(counted.use_count(), 1);
}

TEST_F(fiber_test, temporaries_in_an_awaited_expression_are_destroyed_once) {
    auto counted = std::make_shared<int>(0);
    struct work {
        static coro::task<int> with_aggregate(const order& given) {
            co_await coro::sleep_for(1ms);
            co_return static_cast<int>(given.numbers.size());
        }
        static coro::task<int> call(const std::function<int()>& function) {
            co_await coro::sleep_for(1ms);
            co_return function();
        }
    };
    const auto body = [counted] {
        EXPECT_EQ(coro::await(work::with_aggregate({"text", {1, 2}, counted})), 2);
        EXPECT_EQ(coro::await(work::call([counted] { return ++*counted; })), 1);
        const bool chosen = coro::await(work::call([] { return 1; })) == 1;
        const int other = chosen ? coro::await(work::call([counted] { return 2; }))
                                 : coro::await(work::call([counted] { return 3; }));
        EXPECT_EQ(other, 2);
        if (coro::await(work::call([counted] { return 4; })) == 4) ++*counted;
    };
    simulate(coro::fiber(body));
    EXPECT_EQ(*counted, 2);
    EXPECT_EQ(counted.use_count(), 2);
}

// --- misuse

using fiber_death_test = fiber_test;

TEST_F(fiber_death_test, awaiting_outside_of_a_fiber_aborts_with_a_sentence) {
    EXPECT_DEATH(coro::await(coro::sleep_until(coro::never)), "coro::await outside of a fiber");
    EXPECT_DEATH(simulate([]() -> coro::task<> {
        coro::await(coro::yield());
        co_return;
    }()), "fiber_test.cpp:.*in a coroutine say co_await");
}

TEST_F(fiber_death_test, awaiting_in_a_task_that_a_fiber_has_started_aborts) {
    EXPECT_DEATH(simulate(coro::fiber([] {
        coro::await([]() -> coro::task<> {
            coro::await(coro::yield());
            co_return;
        }());
    })), "coro::await outside of a fiber");
}

}  // namespace
}  // namespace coro_test
