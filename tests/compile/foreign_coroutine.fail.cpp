// expect: only a coro::task \(or a fiber, by coro::await\) can await a coro::task
// A coroutine type of somebody else has no cancel scope and no loop.
#include <coro/coro.hpp>

#include <coroutine>

struct foreign {
    struct promise_type {
        foreign get_return_object() { return {}; }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_never final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept {}
    };
};

coro::task<> work() { co_return; }
foreign main_task() { co_await work(); }
