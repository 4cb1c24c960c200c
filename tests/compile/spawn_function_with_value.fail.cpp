// expect: nobody would see the value of the task that this function returns
#include <coro/coro.hpp>

coro::task<int> child();
void spawn(coro::task_group& group) { group.spawn(child); }
