// expect: from .int. to .*time_span
#include <coro/coro.hpp>

coro::task<> main_task() { co_await coro::sleep_for(5); }
