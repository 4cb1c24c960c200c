// Awaitables of other libraries are awaited as they are, and taken by combinators.
#include <coro/coro.hpp>

#include <chrono>
#include <coroutine>
#include <string>
#include <utility>

class awaiter {
public:
    explicit awaiter(std::string text) : text_(std::move(text)) {}
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    std::string await_resume() const { return text_; }

private:
    std::string text_;
};
coro::task<std::string> main_task() {
    co_return co_await awaiter("x") +
        co_await coro::with_timeout(std::chrono::seconds(1), awaiter("y"));
}
