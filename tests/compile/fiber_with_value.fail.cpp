// expect: nobody would see what this fiber returns
#include <coro/coro.hpp>

int answer();
void spawn(coro::task_group& group) { group.spawn_fiber(answer); }
