// with_cleanup: after the body in every case, shielded, under a limit; whose error wins.
#include <coro/runtime/with_cleanup.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <coro/core/with_cancel_scope.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class with_cleanup_test : public core_test {};

coro::task<> note_cleanup(bool& done) {
    co_await coro::sleep_for(5ms);
    done = true;
}

TEST_F(with_cleanup_test, runs_after_a_value) {
    simulate([]() -> coro::task<> {
        bool cleaned = false;
        const auto start = coro::now();
        EXPECT_EQ(co_await coro::with_cleanup(value_after(1ms, 3), note_cleanup(cleaned)), 3);
        EXPECT_TRUE(cleaned);
        EXPECT_EQ(elapsed_ms(start), 6);
    }());
}

TEST_F(with_cleanup_test, runs_after_an_exception) {
    simulate([]() -> coro::task<> {
        bool cleaned = false;
        auto whole = [](bool& done) -> coro::task<> {
            (void)co_await coro::with_cleanup(failure_after(1ms, "body"), note_cleanup(done));
        };
        EXPECT_TRUE(co_await throws<std::runtime_error>(whole(cleaned)));
        EXPECT_TRUE(cleaned);
    }());
}

TEST_F(with_cleanup_test, runs_shielded_when_the_body_is_cancelled) {
    simulate([]() -> coro::task<> {
        bool cleaned = false;
        const auto start = coro::now();
        EXPECT_FALSE(co_await coro::move_on_after(
            1ms, coro::with_cleanup(sleep_task(1h), note_cleanup(cleaned))));
        EXPECT_TRUE(cleaned);
        EXPECT_EQ(elapsed_ms(start), 6);
    }());
}

TEST_F(with_cleanup_test, runs_also_when_it_starts_in_a_cancelled_scope) {
    simulate([]() -> coro::task<> {
        bool cleaned = false;
        auto body = [&cleaned](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            co_await coro::with_cleanup(sleep_task(1h), note_cleanup(cleaned));
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));
        EXPECT_TRUE(cleaned);
    }());
}

TEST_F(with_cleanup_test, takes_callables_that_capture_and_keeps_them) {
    simulate([]() -> coro::task<> {
        auto counted = std::make_shared<int>(0);
        std::optional<coro::task<int>> work;
        {
            const auto body = [counted]() -> coro::task<int> {
                co_await coro::yield();
                co_return ++*counted;
            };
            const auto cleanup = [counted]() -> coro::task<> {
                co_await coro::yield();
                *counted += 10;
            };
            work.emplace(coro::with_cleanup(body, cleanup));
        }
        EXPECT_EQ(co_await std::move(*work), 1);
        EXPECT_EQ(*counted, 11);
    }());
}

TEST_F(with_cleanup_test, answers_references_and_what_can_only_be_moved) {
    simulate([]() -> coro::task<> {
        int object = 0;
        bool cleaned = false;
        auto refer = [](int& to) -> coro::task<int&> { co_return to; };
        EXPECT_EQ(&co_await coro::with_cleanup(refer(object), note_cleanup(cleaned)), &object);
        auto own = []() -> coro::task<std::unique_ptr<int>> { co_return std::make_unique<int>(2); };
        EXPECT_EQ(*co_await coro::with_cleanup(own(), note_cleanup(cleaned)), 2);
    }());
}

TEST_F(with_cleanup_test, its_own_failure_is_thrown_when_the_body_succeeded) {
    simulate([]() -> coro::task<> {
        try {
            (void)co_await coro::with_cleanup(value_after(1ms, 1), failure_after(1ms, "cleanup"));
            ADD_FAILURE() << "must throw";
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "cleanup");
        }
    }());
}

TEST_F(with_cleanup_test, the_bodys_error_wins_and_that_of_the_cleanup_is_reported) {
    const report_log log;
    simulate([]() -> coro::task<> {
        try {
            (void)co_await coro::with_cleanup(failure_after(1ms, "body"),
                                              failure_after(1ms, "cleanup"));
            ADD_FAILURE() << "must throw";
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "body");
        }
    }());
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_EQ(log.lines[0],
              "cleanup: a clean-up failed after its body had failed: cleanup [main]");
}

TEST_F(with_cleanup_test, it_has_a_limit_five_seconds_unless_said_otherwise) {
    const report_log log;
    simulate([]() -> coro::task<> {
        const auto start = coro::now();
        try {
            co_await coro::with_cleanup(sleep_task(0ms), sleep_task(1h));
            ADD_FAILURE() << "must throw";
        } catch (const coro::io_error& error) {
            EXPECT_EQ(error.code(), coro::errc::deadline_exceeded);
        }
        EXPECT_EQ(elapsed_ms(start), 5000);
        EXPECT_FALSE(co_await coro::move_on_after(
            1ms, coro::with_cleanup(sleep_task(1h), sleep_task(1h), 2ms)));
        EXPECT_EQ(elapsed_ms(start), 5003);
    }());
    ASSERT_EQ(log.lines.size(), 1u);  // the second one: the body's `cancelled` won
    EXPECT_NE(log.lines[0].find("clean-up"), std::string::npos);
}

TEST_F(with_cleanup_test, a_task_that_is_never_awaited_runs_neither) {
    const dropped_tasks dropped;
    bool cleaned = false;
    { const auto unstarted = coro::with_cleanup(sleep_task(1ms), note_cleanup(cleaned)); }
    EXPECT_FALSE(cleaned);
    EXPECT_EQ(dropped.told(), 1u);
}

}  // namespace
}  // namespace coro_test
