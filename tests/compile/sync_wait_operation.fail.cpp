// expect: this takes a task, and an operation lives in the await of one
#include <coro/coro.hpp>

coro::task<int> answer();
void wait(const coro::loop_handle& loop) {
    coro::sync_wait(loop, coro::when_all(answer(), answer()));
}
