// Exceptions in fibers: each stack has its own that are being handled or on their way; a destructor
// that waits while one passes is shielded, and limited.
#include <coro/core/fiber.hpp>

#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include <coro/runtime/await.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class fiber_exceptions_test : public core_test {};

std::string current_text() {
    try {
        throw;
    } catch (const std::exception& error) {
        return error.what();
    }
}

TEST_F(fiber_exceptions_test, two_that_yield_in_a_handler_and_rethrow_get_their_own_exception) {
    std::vector<std::string> texts;
    simulate([](std::vector<std::string>& out) -> coro::task<> {
        auto body = [&out](coro::task_group& group) -> coro::task<> {
            for (const char* const mine : {"first", "second", "third"})
                group.spawn_fiber([&out, mine] {
                    std::string rethrown;
                    try {
                        try {
                            throw std::runtime_error(mine);
                        } catch (const std::runtime_error&) {
                            for (int i = 0; i < 3; ++i) {
                                coro::await(coro::yield());
                                out.push_back(mine + (": " + current_text()));
                            }
                            throw;
                        }
                    } catch (const std::runtime_error& error) {
                        rethrown = error.what();
                    }
                    EXPECT_EQ(rethrown, mine);
                    EXPECT_EQ(std::current_exception(), nullptr);
                });
            co_return;
        };
        co_await coro::with_task_group(body);
    }(texts));
    ASSERT_EQ(texts.size(), 9u);
    for (std::size_t i = 0; i < 9; i += 3) {
        EXPECT_EQ(texts[i], "first: first");
        EXPECT_EQ(texts[i + 1], "second: second");
        EXPECT_EQ(texts[i + 2], "third: third");
    }
}

TEST_F(fiber_exceptions_test, a_handler_may_wait_for_tasks_and_fibers_that_throw_themselves) {
    simulate(coro::fiber([] {
        try {
            throw std::runtime_error("outer");
        } catch (const std::runtime_error&) {
            EXPECT_THROW(coro::await(failure_after(1ms, "task")), std::runtime_error);
            EXPECT_EQ(current_text(), "outer");
            const auto inner = [] {
                EXPECT_EQ(std::current_exception(), nullptr);  // a stack of its own
                try {
                    throw std::logic_error("inner");
                } catch (const std::logic_error&) {
                    coro::await(coro::yield());
                    EXPECT_EQ(current_text(), "inner");
                }
            };
            coro::await(coro::fiber(inner));
            EXPECT_EQ(current_text(), "outer");
        }
    }));
}

/// Waits in its destructor, and notes how.
class waits_at_the_end {
public:
    waits_at_the_end(coro::duration span, std::string& log) : span_(span), log_(log) {}
    ~waits_at_the_end() {
        log_ += std::to_string(std::uncaught_exceptions());
        try {
            coro::await(coro::sleep_for(span_));
            log_ += " waited";
        } catch (const coro::cancelled&) {
            log_ += " cancelled";
        } catch (const coro::io_error& error) {
            log_ += error.code() == coro::errc::deadline_exceeded ? " limit" : " error";
        }
        log_ += " " + std::to_string(std::uncaught_exceptions()) + ";";
    }

private:
    coro::duration span_;
    std::string& log_;
};

/// Runs a fiber with that as local variable, until it is cancelled after a millisecond.
std::string end_by_cancellation(coro::duration span, long& took) {
    return simulate([](coro::duration wait, long& ms) -> coro::task<std::string> {
        std::string log;
        const coro::time_point start = coro::now();
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([&] {
                const waits_at_the_end local(wait, log);
                coro::await(coro::sleep_for(1h));
            });
            co_await coro::sleep_for(1ms);
            group.cancel();
        };
        co_await coro::with_task_group(body);
        ms = elapsed_ms(start);
        co_return log;
    }(span, took));
}

TEST_F(fiber_exceptions_test, a_destructor_that_waits_while_unwinding_is_shielded) {
    long took = 0;
    EXPECT_EQ(end_by_cancellation(20ms, took), "1 waited 1;");
    EXPECT_EQ(took, 21);
}

TEST_F(fiber_exceptions_test, the_shield_of_a_destructor_has_the_limit_of_clean_ups) {
    long took = 0;
    EXPECT_EQ(end_by_cancellation(1h, took), "1 limit 1;");
    EXPECT_EQ(took, 5001);
    EXPECT_EQ(coro::default_shield_limit, 5s);
}

TEST_F(fiber_exceptions_test, a_destructor_that_waits_without_unwinding_is_not_shielded) {
    const std::string log = simulate([]() -> coro::task<std::string> {
        std::string text;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([&] { const waits_at_the_end local(1h, text); });
            co_await coro::sleep_for(1ms);
            group.cancel();
        };
        co_await coro::with_task_group(body);
        co_return text;
    }());
    EXPECT_EQ(log, "0 cancelled 0;");
}

TEST_F(fiber_exceptions_test, the_exception_goes_on_after_the_wait) {
    std::string log;
    const std::string text = simulate([](std::string& out) -> coro::task<std::string> {
        const auto body = [&out] {
            const waits_at_the_end outer(1ms, out);
            const waits_at_the_end inner(1ms, out);
            throw std::runtime_error("through both");
        };
        try {
            co_await coro::fiber(body);
        } catch (const std::runtime_error& error) {
            co_return error.what();
        }
        co_return "";
    }(log));
    EXPECT_EQ(text, "through both");
    EXPECT_EQ(log, "1 waited 1;1 waited 1;");
}

TEST_F(fiber_exceptions_test, others_that_run_meanwhile_do_not_see_it) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([] {
                std::string log;
                try {
                    const waits_at_the_end local(10ms, log);
                    throw std::runtime_error("on its way");
                } catch (const std::runtime_error&) {
                }
                EXPECT_EQ(log, "1 waited 1;");
            });
            group.spawn_fiber([] {
                for (int i = 0; i < 20; ++i) {
                    EXPECT_EQ(std::uncaught_exceptions(), 0);
                    EXPECT_EQ(std::current_exception(), nullptr);
                    coro::await(coro::sleep_for(1ms));
                }
            });
            group.spawn([]() -> coro::task<> {
                for (int i = 0; i < 20; ++i) {
                    EXPECT_EQ(std::uncaught_exceptions(), 0);
                    EXPECT_EQ(std::current_exception(), nullptr);
                    co_await coro::sleep_for(1ms);
                }
            });
            co_return;
        };
        co_await coro::with_task_group(body);
        EXPECT_EQ(std::uncaught_exceptions(), 0);
    }());
}

TEST_F(fiber_exceptions_test, a_task_that_a_destructor_awaits_sees_none_from_beginning_to_end) {
    struct ends {
        std::vector<int>& seen;
        static coro::task<> task(std::vector<int>& out) {
            out.push_back(std::uncaught_exceptions());
            co_await coro::sleep_for(1ms);
            out.push_back(std::uncaught_exceptions());
        }
        ~ends() { coro::await(task(seen)); }
    };
    std::vector<int> counts;
    simulate(coro::fiber([&counts] {
        try {
            const ends local{counts};
            throw std::runtime_error("on its way");
        } catch (const std::runtime_error&) {
        }
    }));
    EXPECT_EQ(counts, (std::vector<int>{0, 0}));
}

}  // namespace
}  // namespace coro_test
