// expect: ignoring return(ed)? value .*(nodiscard|co_await it or spawn it)
// An operation that is not awaited would do nothing.
#include <coro/coro.hpp>

coro::task<> main_task() {
    coro::yield();
    co_return;
}
