// expect: spawn takes a function or a lambda that captures nothing
// Captures would die before the task does.
#include <coro/coro.hpp>

coro::task<> body(coro::task_group& group) {
    int value = 1;
    group.spawn([value]() -> coro::task<> {
        (void)value;
        co_return;
    });
    co_return;
}
