// expect: ignoring return(ed)? value .*(nodiscard|co_await it or spawn it)
// A task that is dropped would never run.
#include <coro/coro.hpp>

coro::task<> work() { co_return; }
coro::task<> main_task() {
    work();
    co_return;
}
