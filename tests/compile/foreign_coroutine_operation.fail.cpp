// expect: only a coro::task \(or a fiber, by coro::await\) can await this
// The same for operations of the library.
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

foreign main_task() { co_await coro::yield(); }
