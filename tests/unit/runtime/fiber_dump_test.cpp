// Fibers in the task dump: one chain with the tasks that they await and that await them.
#include <coro/runtime/run.hpp>

#include <string>

#include <coro/runtime/await.hpp>
#include <coro/runtime/local_task_group.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace market {
namespace {

using namespace std::chrono_literals;

// Five deep: coroutine, fiber, coroutine, fiber, coroutine.
coro::task<> till() { co_await coro::sleep_for(1h); }
void clerk() { coro::await(till()); }
coro::task<> counter() { co_await coro::fiber(clerk); }
void manager(int) { coro::await(counter()); }
coro::task<> shop() { co_await coro::fiber(manager, 1); }

int ask(coro::duration span) {
    coro::await(coro::sleep_for(span));
    return 1;
}
void ask_forever() { (void)ask(1h); }
struct customer {
    int patience = 1;
    void queue() const { (void)ask(patience * 1h); }
};

}  // namespace
}  // namespace market

namespace coro_test {
namespace {

class fiber_dump_test : public core_test {};

/// Replaces `file.cpp:12` by `file.cpp:N`.
std::string without_lines(std::string text) {
    for (std::size_t at = 0; (at = text.find("pp:", at)) != std::string::npos;) {
        at += 3;
        std::size_t end = at;
        while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
        text.replace(at, end - at, "N");
    }
    return text;
}

/// The dump while the children that `fill` spawns wait, up to whose children they are.
template <typename Fill>
std::string dump_children(Fill fill) {
    std::string text;
    simulate([](std::string& out, Fill& spawn_all) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            spawn_all(group);
            co_await coro::sleep_for(12ms);
            out = coro::dump_tasks();
            group.cancel();
        };
        co_await coro::with_task_group(body);
    }(text, fill));
    text = without_lines(text.substr(text.find('\n') + 1));
    return text.substr(0, text.find(" ← with_task_group"));
}

TEST_F(fiber_dump_test, a_chain_of_five_coroutines_and_fibers_is_named_exactly) {
    EXPECT_EQ(dump_children([](coro::task_group& group) {
                  group.spawn({.name = "five"}, market::shop);
              }),
              "#2 five fiber_dump_test.cpp:N sleep since 12 ms"
              " ← market::{anonymous}::clerk fiber_dump_test.cpp:N"
              " ← market::{anonymous}::counter fiber_dump_test.cpp:N"
              " ← market::{anonymous}::manager fiber_dump_test.cpp:N"
              " ← market::{anonymous}::shop fiber_dump_test.cpp:N");
}

TEST_F(fiber_dump_test, the_lines_are_those_of_the_awaits) {
    int line = 0;
    std::string text;
    simulate([](int& at, std::string& out) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([&at] {
                at = __LINE__ + 1;
                coro::await(coro::sleep_for(1h));
            });
            co_await coro::sleep_for(1ms);
            out = coro::dump_tasks();
            group.cancel();
        };
        co_await coro::with_task_group(body);
    }(line, text));
    EXPECT_NE(text.find("\n#2 fiber_dump_test.cpp:" + std::to_string(line) + " sleep since 1 ms"),
              std::string::npos)
        << text;
}

TEST_F(fiber_dump_test, the_function_that_awaits_is_named_not_the_one_that_began) {
    const std::string text = dump_children([](coro::task_group& group) {
        group.spawn_fiber([] { coro::await(coro::fiber(&market::customer::queue,
                                                       market::customer())); });
    });
    EXPECT_EQ(text.find("customer"), std::string::npos) << text;  // it is inside of a call
    EXPECT_NE(text.find("#2 fiber_dump_test.cpp:N sleep since 12 ms ← "), std::string::npos)
        << text;
    EXPECT_TRUE(text.ends_with("::<lambda> fiber_dump_test.cpp:N")) << text;
}

TEST_F(fiber_dump_test, one_that_runs_shows_its_latest_await) {
    std::string text;
    simulate([](std::string& out) -> coro::task<> {
        const auto body = [&out] {
            coro::await(coro::yield());
            out = without_lines(coro::dump_tasks());
        };
        co_await coro::fiber(body);
    }(text));
    EXPECT_TRUE(text.starts_with("#1 main fiber_dump_test.cpp:N running ← ")) << text;
}

TEST_F(fiber_dump_test, one_that_has_not_begun_is_ready) {
    std::string text;
    simulate([](std::string& out) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber({.name = "new"}, [] {});
            out = without_lines(coro::dump_tasks());
            co_return;
        };
        co_await coro::with_task_group(body);
    }(text));
    EXPECT_NE(text.find("\n#2 new fiber_dump_test.cpp:N ready\n"), std::string::npos) << text;
    EXPECT_EQ(text.find("fiber.hpp"), std::string::npos) << text;
    EXPECT_EQ(text.find("fiber_coroutine"), std::string::npos) << text;
}

void family(std::string& out) {
    coro::local_task_group group;
    group.spawn_fiber({.name = "child"}, market::ask_forever);
    coro::await(coro::sleep_for(1ms));
    out = without_lines(coro::dump_tasks());
}

TEST_F(fiber_dump_test, children_of_a_local_group_belong_to_the_fiber) {
    std::string text;
    simulate([](std::string& out) -> coro::task<> {
        co_await coro::fiber(family, std::ref(out));
    }(text));
    const std::size_t child = text.find("\n#2 child fiber_dump_test.cpp:N sleep since 1 ms ← ");
    ASSERT_NE(child, std::string::npos) << text;
    EXPECT_NE(text.find("::family fiber_dump_test.cpp:N ← ", child), std::string::npos) << text;
}

}  // namespace
}  // namespace coro_test
