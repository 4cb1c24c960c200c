// expect: (use of|call to|copy of|implicitly-deleted|implicitly deleted).*
#include <coro/coro.hpp>

coro::task<> work() { co_return; }
void copy() {
    const coro::task<> first = work();
    const coro::task<> second = first;
}
