// expect: this function returns no task: start a plain function with spawn_fiber
#include <coro/coro.hpp>

void child(int);
void spawn(coro::task_group& group) { group.spawn({.name = "child"}, child, 1); }
