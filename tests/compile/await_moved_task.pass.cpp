#include <coro/coro.hpp>

#include <utility>

coro::task<int> work() { co_return 1; }
coro::task<int> main_task() {
    coro::task<int> named = work();
    co_return co_await std::move(named) + co_await work();
}
