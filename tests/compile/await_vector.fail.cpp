// expect: std::vector<int> ?&
#include <coro/coro.hpp>

#include <vector>

coro::task<> main_task(std::vector<int> values) { co_await values; }
