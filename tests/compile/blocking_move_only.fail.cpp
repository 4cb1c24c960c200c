// expect: coro::moved\(name\) moves it [g++ only]
#include <coro/coro.hpp>

#include <memory>

coro::task<int> main_task(std::unique_ptr<int> owned) {
    auto work = [mine = std::move(owned)] { return *mine; };
    co_return co_await coro::blocking(std::move(work));
}
