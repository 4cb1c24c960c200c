// expect: (void value not ignored|rvalue of type 'void')
#include <coro/coro.hpp>

coro::task<> main_task() {
    int n = co_await coro::yield();
    (void)n;
}
