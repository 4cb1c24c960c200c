// expect: this operation would die before it ends: await it in a task<> of its own [2 times]
#include <coro/coro.hpp>

coro::task<int> answer();
void spawn_a_deadline(coro::task_group& group, coro::event& e) {
    group.spawn(coro::with_timeout(std::chrono::seconds(1), e.wait()));
}
void spawn_a_combination(coro::task_group& group) {
    group.spawn(coro::shield(coro::when_any(answer(), answer())));
}
