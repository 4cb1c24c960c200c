// expect: this operation would die before it ends: await it in a task<> of its own
#include <coro/coro.hpp>

void spawn(coro::task_group& group) { group.spawn(coro::sleep_for(std::chrono::seconds(1))); }
