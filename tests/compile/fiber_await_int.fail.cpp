// expect: this cannot be awaited: it is no task
#include <coro/coro.hpp>

void in_a_fiber() { coro::await(42); }
