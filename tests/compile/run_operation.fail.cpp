// expect: this takes a task, and an operation lives in the await of one
#include <coro/coro.hpp>

coro::task<int> answer();
void run() { coro::run(coro::with_timeout(std::chrono::seconds(1), answer())); }
