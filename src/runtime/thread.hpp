// A thread of the library's own: for a loop, or for blocking calls.
#pragma once

#include <functional>
#include <memory>

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

}}}  // namespace coro::v0::detail
