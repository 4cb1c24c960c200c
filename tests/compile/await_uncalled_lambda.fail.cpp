// expect: a function or lambda is awaited that nobody has called: write co_await f\(\)
#include <coro/coro.hpp>

coro::task<> program() {
    const auto work = []() -> coro::task<> { co_return; };
    co_await work;
}
