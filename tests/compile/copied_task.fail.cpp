// expect: (use of deleted function|call to implicitly-deleted copy constructor).*task
#include <coro/coro.hpp>

coro::task<> work() { co_return; }
void copy() {
    const coro::task<> first = work();
    const coro::task<> second = first;
}
