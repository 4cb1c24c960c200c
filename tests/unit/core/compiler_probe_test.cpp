// Does this compiler destroy temporaries of an await twice, as lifetime_checks.hpp says?
// With coroutine types of our own here, because coro::task refuses what is probed.
#include <coro/core/detail/lifetime_checks.hpp>

#include <coroutine>
#include <utility>

#include <gtest/gtest.h>

namespace {

/// Counts what is alive; below zero, something was destroyed twice.
struct counted {
    explicit counted(int& of) : alive(&of) { ++*alive; }
    counted(const counted& other) : alive(other.alive) { ++*alive; }
    counted(counted&& other) noexcept : alive(other.alive) { ++*alive; }
    counted& operator=(const counted&) = delete;
    ~counted() { --*alive; }
    int* alive;
};

class probe {
public:
    struct promise_type {
        probe get_return_object() {
            return probe(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_never initial_suspend() const noexcept { return {}; }
        std::suspend_always final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const { throw; }
    };

    explicit probe(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
    probe(probe&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
    probe& operator=(probe&&) = delete;
    ~probe() {
        if (frame_) frame_.destroy();
    }

    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    void await_resume() const noexcept {}

private:
    std::coroutine_handle<promise_type> frame_;
};

struct aggregate {
    counted member;
    int other;
};
class with_constructor {
public:
    explicit with_constructor(int& alive) : member_(alive) {}

private:
    counted member_;
};

probe take_aggregate(aggregate) { co_return; }
probe take_object(with_constructor) { co_return; }
template <typename Callable>
probe take_callable(Callable) {
    co_return;
}

probe await_aggregate(int& alive) {
    co_await take_aggregate({.member = counted(alive), .other = 1});
}
probe await_closure(int& alive) {
    counted held(alive);
    co_await take_callable([held] { (void)held; });
}
probe await_object(int& alive) { co_await take_object(with_constructor(alive)); }
probe await_named_closure(int& alive) {
    counted held(alive);
    auto named = [held] { (void)held; };
    co_await take_callable(named);
}

template <typename Coroutine>
int alive_after(Coroutine coroutine) {
    int alive = 0;
    { const probe whole = coroutine(alive); }
    return alive;
}

TEST(compiler_probe, the_line_in_the_header_agrees_with_what_the_compiler_does) {
    const bool twice = alive_after(await_aggregate) < 0 || alive_after(await_closure) < 0;
    EXPECT_EQ(twice, CORO_DOUBLE_DESTROY != 0)
        << "correct the condition of CORO_DOUBLE_DESTROY in coro/core/detail/lifetime_checks.hpp";
}

TEST(compiler_probe, what_the_library_advises_is_safe) {
    EXPECT_EQ(alive_after(await_object), 0);
    EXPECT_EQ(alive_after(await_named_closure), 0);
}

}  // namespace
