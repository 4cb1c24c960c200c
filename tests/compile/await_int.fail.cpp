// expect: this cannot be awaited: it is no task, no operation of the library
#include <coro/coro.hpp>

coro::task<> main_task() { co_await 5; }
