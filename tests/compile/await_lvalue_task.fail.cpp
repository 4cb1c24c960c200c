// expect: (use of|call to|selected) deleted (member )?function.*await_transform
// A task is used up by its await: say std::move.
#include <coro/coro.hpp>

coro::task<> work() { co_return; }
coro::task<> main_task() {
    coro::task<> named = work();
    co_await named;
}
