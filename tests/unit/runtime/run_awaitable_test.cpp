// What can be awaited can be run; a callable that can only be moved can be handed over by name.
#include <memory>
#include <string>
#include <tuple>

#include <coro/core/when_all.hpp>
#include <coro/runtime/blocking.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class run_awaitable_test : public core_test {};

constexpr coro::run_options simulated{.poller = coro::poller_choice::simulation};

TEST_F(run_awaitable_test, combinators_and_operations_are_run) {
    EXPECT_EQ(coro::run(coro::with_timeout(1s, value_after(1ms, 42)), simulated), 42);
    const auto [one, two] =
        coro::run(coro::when_all(value_after(2ms, 1), value_after(1ms, 2)), simulated);
    EXPECT_EQ(one + two, 3);
    coro::run(coro::sleep_for(1ms), simulated);
    EXPECT_FALSE(coro::run(coro::move_on_after(1ms, sleep_task(1h)), simulated));
    EXPECT_THROW(coro::run(coro::with_timeout(1ms, sleep_task(1h)), simulated), coro::io_error);
    EXPECT_EQ(coro::run_main(coro::with_timeout(1s, value_after(1ms, 3)), simulated), 3);
    EXPECT_EQ(coro::run_main(coro::shield(sleep_task(1ms)), simulated), 0);
}

TEST_F(run_awaitable_test, a_callable_that_owns_what_cannot_be_copied_is_moved_by_name) {
    simulate([]() -> coro::task<> {
        const std::string text = "text that is too long for a small string";
        auto call = [text, number = std::make_unique<int>(2)] {
            return text + std::to_string(*number);
        };
        const std::string told = co_await coro::blocking(coro::moved(call));
        EXPECT_EQ(told, text + "2");
        auto body = [text, number = std::make_unique<int>(3)](
                        coro::task_group& group) -> coro::task<int> {
            group.spawn(sleep_task, 1ms);
            co_await group.join();
            co_return *number;
        };
        const int number = co_await coro::with_task_group(coro::moved(body));
        EXPECT_EQ(number, 3);
    }());
}

}  // namespace
}  // namespace coro_test
