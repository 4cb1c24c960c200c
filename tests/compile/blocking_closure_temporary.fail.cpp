// expect: moves it\); it captures by value, because the call may outlive the task [g++ only]
#include <coro/coro.hpp>

#include <string>

coro::task<std::size_t> main_task(std::string text) {
    co_return co_await coro::blocking([text] { return text.size(); });
}
