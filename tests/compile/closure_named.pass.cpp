// A closure that is named first, or that owns nothing, is fine on every compiler.
#include <coro/coro.hpp>

#include <string>

coro::task<> main_task(std::string text) {
    auto named = [text](coro::task_group&) -> coro::task<> {
        (void)text;
        co_return;
    };
    co_await coro::with_task_group(named);
    co_await coro::with_task_group([&text](coro::task_group&) -> coro::task<> {
        (void)text;
        co_return;
    });
}
