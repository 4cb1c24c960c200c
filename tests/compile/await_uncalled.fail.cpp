// expect: a function or lambda was awaited that nobody has called: write co_await f
#include <coro/coro.hpp>

coro::task<> main_task() {
    const auto work = []() -> coro::task<> { co_return; };
    co_await work;
}
