// expect: this body returns no task: a lambda that waits says -> coro::task<>
#include <coro/coro.hpp>

void child();
coro::task<> main_task() {
    co_await coro::with_task_group([](coro::task_group& group) { group.spawn_fiber(child); });
}
