// expect: a task has its arguments already: spawn it alone
#include <coro/coro.hpp>

coro::task<> child(int);
void spawn(coro::task_group& group) { group.spawn(child(1), 1); }
