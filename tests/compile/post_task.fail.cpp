// expect: a post calls a plain function; the task that this one returns would never run
#include <coro/coro.hpp>

coro::task<> work();
void post(const coro::loop_handle& loop) { loop.post(work); }
