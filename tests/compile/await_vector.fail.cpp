// expect: std::vector<int> ?// expect: (Foreign = std::vector<int>|'std::vector<int> &' does not satisfy)
#include <coro/coro.hpp>

#include <vector>

coro::task<> main_task(std::vector<int> values) { co_await values; }
