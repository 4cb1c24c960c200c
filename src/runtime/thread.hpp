// A thread of the library's own: for a loop, for blocking calls, or to look after loops; and the
// bell that wakes such a one.
#pragma once

#include <functional>
#include <memory>

#include <coro/base/time.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Joined or detached before its end. Signals stay as they are in the thread that starts it: what a
/// child process inherits from any thread is the program's own mask.
class thread {
public:
    thread() noexcept;
    thread(thread&&) noexcept;
    thread& operator=(thread&&) noexcept;
    ~thread();

    /// `name`, of which 15 bytes count, is what ps and debuggers show. `body` must not throw.
    /// Throws: std::system_error (resource_unavailable_try_again).
    static thread start(const char* name, std::function<void()> body);

    [[nodiscard]] explicit operator bool() const noexcept { return native_ != nullptr; }
    void join() noexcept;
    void detach() noexcept;

private:
    struct native;
    std::unique_ptr<native> native_;
};

/// One thread waits for it, others ring: an eventfd(2).
class bell {
public:
    /// Throws: std::system_error (too_many_files_open, ..._in_system, not_enough_memory).
    bell();
    bell(const bell&) = delete;
    bell& operator=(const bell&) = delete;
    ~bell();

    /// Ends a wait() under way, or the next one. Any thread, and signal handlers.
    void ring() noexcept;
    /// Returns when it has rung, or after `span`; max(): no limit. It may return early.
    void wait(duration span) noexcept;

private:
    int descriptor_;
};

}}}  // namespace coro::v0::detail
