// expect: g\+\+ 12 may destroy a temporary closure twice in a co_await expression [g++ only]
#include <coro/coro.hpp>

#include <string>

coro::task<> main_task(std::string text) {
    co_await coro::with_task_group([text](coro::task_group&) -> coro::task<> {
        (void)text;
        co_return;
    });
}
