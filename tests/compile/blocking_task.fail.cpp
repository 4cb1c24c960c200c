// expect: blocking calls a plain function; the task that this one returns would not run
#include <coro/coro.hpp>

coro::task<> work();
coro::task<> main_task() { co_await coro::blocking(work); }
