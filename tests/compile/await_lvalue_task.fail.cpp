// expect: error: static.*coro: an await uses a task up; a named one must be std::move'd
// A task is used up by its await: say std::move.
#include <coro/coro.hpp>

coro::task<> work() { co_return; }
coro::task<> main_task() {
    coro::task<> named = work();
    co_await named;
}
