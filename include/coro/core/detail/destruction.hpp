// How the frames of tasks end: one inside of the other to a bounded depth, the others in a row.
#pragma once

#include <coroutine>
#include <utility>

#include <coro/base/detail/export.hpp>

namespace coro { inline namespace v0 { namespace detail {

class task_promise_base;

/// A frame that is destroyed destroys its parameters, and tasks among them their frames, and so on.
/// So many end one inside of the other; deeper ones wait until the outermost has gone. So a deeper
/// frame ends after the parameters of the frames around it, against the order of C++. If the
/// destructor of its parameter uses an object of such a frame by a reference, that is a use after
/// free. Such a parameter must share the object (std::shared_ptr), or the program destroys the
/// inner tasks before the outer ones.
inline constexpr unsigned destruction_limit = 12;

/// The frames that this thread destroys right now.
struct destruction {
    unsigned depth = 0;
    bool quiet = false;  ///< inside of a frame that never ran, or failed: its tasks are no surprise
    bool failed = false;  ///< inside of a frame that an exception has ended
    task_promise_base* first = nullptr;  ///< those that wait for the outermost, in order
    task_promise_base* last = nullptr;
};
[[gnu::tls_model("initial-exec")]] CORO_EXPORT extern constinit thread_local  //
    destruction destroying;

CORO_EXPORT void destroy_later(std::coroutine_handle<> frame, task_promise_base& promise) noexcept;
CORO_EXPORT void destroy_waiting() noexcept;
/// For a frame that has not ended well. Aborts if it runs, and tells the report hook if it never
/// ran, and the program has forgotten it.
CORO_EXPORT void destroy_unfinished(std::coroutine_handle<> frame,
                                    task_promise_base& promise) noexcept;

inline void destroy_frame(std::coroutine_handle<> frame, task_promise_base& promise) noexcept {
    if (destroying.depth >= destruction_limit) [[unlikely]] return destroy_later(frame, promise);
    ++destroying.depth;
    frame.destroy();
    if (--destroying.depth == 0 && destroying.first != nullptr) [[unlikely]] destroy_waiting();
}

/// While a fiber awaits in a destructor, the thread destroys other frames, for others.
class destruction_pause {
public:
    destruction_pause() noexcept : paused_(std::exchange(destroying, {})) {}
    destruction_pause(const destruction_pause&) = delete;
    destruction_pause& operator=(const destruction_pause&) = delete;
    ~destruction_pause() { destroying = paused_; }

private:
    destruction paused_;
};

/// How often destroy_unfinished has told the hook, for tests.
[[nodiscard]] CORO_EXPORT unsigned unstarted_tasks_reported() noexcept;

}}}  // namespace coro::v0::detail
