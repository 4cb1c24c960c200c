// A bare coroutine type, so that nothing of the library has a part in what is shown; and values
// that notice it when they are destroyed twice.
#pragma once

#include <algorithm>
#include <array>
#include <coroutine>
#include <cstring>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

inline std::set<const void*> alive;
inline int wrongs = 0;
inline std::deque<std::coroutine_handle<>> runnable;

struct owned {
    owned(int value = 1) : number(value) { alive.insert(this); }
    owned(const char* text) : owned(static_cast<int>(std::strlen(text))) {}
    owned(const owned& other) : owned(other.get()) {}
    owned& operator=(const owned& other) {
        number = other.get();
        return *this;
    }
    ~owned() { wrongs += alive.erase(this) == 0; }
    int get() const {
        wrongs += alive.count(this) == 0;
        return number;
    }
    bool ok() const { return get() > 0; }
    friend owned operator+(const owned& a, const owned& b) { return owned(a.get() + b.get()); }
    int number;
};
struct request {
    owned name;
    int size = 0;
};
struct nested {
    request inner;
    int more;
};
struct point {
    int x, y;
};
struct object {
    explicit object(owned value) : member(value) {}
    int get() const { return member.get(); }
    owned member;
};
struct failure {
    explicit failure(owned value) : member(value) {}
    owned member;
};

struct turn {
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> frame) const { runnable.push_back(frame); }
    void await_resume() const {}
};

template <typename T>
struct task {
    struct promise_type {
        task get_return_object() {
            return task(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        struct final_awaiter {
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<promise_type> frame) const noexcept {
                if (frame.promise().parent) runnable.push_back(frame.promise().parent);
            }
            void await_resume() const noexcept {}
        };
        final_awaiter final_suspend() const noexcept { return {}; }
        void unhandled_exception() { error = std::current_exception(); }
        void return_value(T given) { value.emplace(std::move(given)); }

        std::optional<T> value;
        std::exception_ptr error;
        std::coroutine_handle<> parent;
    };

    explicit task(std::coroutine_handle<promise_type> of) : frame(of) {}
    task(task&& other) noexcept : frame(std::exchange(other.frame, {})) {}
    ~task() {
        if (frame) frame.destroy();
    }
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> awaiter) {
        frame.promise().parent = awaiter;
        runnable.push_back(frame);
    }
    T await_resume() {
        if (frame.promise().error) std::rethrow_exception(frame.promise().error);
        return std::move(*frame.promise().value);
    }
    std::coroutine_handle<promise_type> frame;
};

inline int step = 0;
inline task<int> num(int value = 1) {
    co_await turn{};
    co_return value;
}
inline task<bool> yes(bool value = true) {
    co_await turn{};
    co_return value;
}
inline task<bool> thrice() {
    co_await turn{};
    co_return step++ < 3;
}
inline task<owned> str() {
    co_await turn{};
    co_return owned(1);
}
inline task<request> req() {
    co_await turn{};
    request made{owned(1), 2};
    co_return made;
}
template <typename T>
inline task<int> take(T) {
    co_await turn{};
    co_return 1;
}
template <typename T>
inline task<int> look(const T&) {
    co_await turn{};
    co_return 1;
}
inline task<int> handle(request given) {
    co_await turn{};
    co_return given.name.get();
}
inline task<int> look_at(const request& given = {owned(1), 2}) {
    co_await turn{};
    co_return given.name.get();
}
inline task<int> say(owned given) {
    co_await turn{};
    co_return given.get();
}
inline task<int> sum(std::vector<int> given) {
    co_await turn{};
    co_return static_cast<int>(given.size());
}
inline int use(const owned& given) { return given.get(); }
inline int use(const request& given, int) { return given.name.get(); }
template <typename Function>
inline int call(const Function& function, int) {
    return function();
}
inline request make_request() { return {owned(1), 2}; }
inline owned make_owned() { return owned(1); }
inline const owned& same(const owned& given) { return given; }
