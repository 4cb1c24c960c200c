// expect: task<int>.* to .*int
#include <coro/coro.hpp>

coro::task<int> answer();

coro::task<> main_task() {
    int n = answer();
    co_await coro::sleep_for(std::chrono::seconds(n));
}
