// expect: this takes a task, or a combinator of nothing but tasks
#include <coro/coro.hpp>

coro::task<int> answer();
void wait(const coro::loop_handle& loop) {
    coro::sync_wait(loop, coro::when_all(answer(), coro::yield()));
}
