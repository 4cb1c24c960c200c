// A callable that can only be moved is handed over by its name.
#include <memory>
#include <string>

#include <coro/runtime/blocking.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class moved_callable_test : public core_test {};

TEST_F(moved_callable_test, a_callable_that_owns_what_cannot_be_copied_is_moved_by_name) {
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
