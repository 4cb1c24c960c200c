// expect: g\+\+ 12 may destroy this awaiter twice [g++ only]
#include <coro/coro.hpp>

#include <coroutine>
#include <string>

struct awaiter {
    std::string text;
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}
};
coro::task<> main_task() { co_await awaiter{"x"}; }
