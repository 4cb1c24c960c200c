// expect: nobody would see the value of this task: await it
// Nobody would read the value: await it in a task<>.
#include <coro/coro.hpp>

coro::task<int> child() { co_return 1; }
coro::task<> body(coro::task_group& group) {
    group.spawn(child());
    co_return;
}
