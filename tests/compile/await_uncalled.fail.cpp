// expect: a function or lambda is awaited that nobody has called: write co_await f\(\)
#include <coro/coro.hpp>

coro::task<> work() { co_return; }

coro::task<> program() { co_await work; }
