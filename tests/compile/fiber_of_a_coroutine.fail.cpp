// expect: this function is a coroutine already
#include <coro/coro.hpp>

coro::task<> nothing();
void spawn(coro::task_group& group) { group.spawn_fiber(nothing); }
