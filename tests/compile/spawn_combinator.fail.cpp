// expect: this operation would die before it ends: await it in a task<> of its own
#include <coro/coro.hpp>

coro::task<int> answer();
void spawn(coro::task_group& group) {
    group.spawn(coro::with_timeout(std::chrono::seconds(1), answer()));
}
