// A callable that can only be moved is handed over by its name, on every compiler.
#include <coro/coro.hpp>

#include <memory>

coro::task<int> move_it(std::unique_ptr<int> owned) {
    auto work = [mine = std::move(owned)] { return *mine; };
    auto more = [mine = std::make_unique<int>(1)](coro::task_group&) -> coro::task<> {
        (void)mine;
        co_return;
    };
    co_await coro::with_task_group(coro::moved(more));
    co_return co_await coro::blocking(coro::moved(work));
}
