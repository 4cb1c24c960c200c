// How a task is awaited, and the way in for the library.
#pragma once

#include <coroutine>
#include <type_traits>

#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

template <typename T, typename Closure>
task<T> task_promise<T, Closure>::get_return_object() noexcept {
    return task<T>(std::coroutine_handle<task_promise>::from_promise(*this), *this);
}

/// The library's way into a task.
struct task_access {
    template <typename T>
    static task_promise_value<T>& promise(task<T>& of) noexcept {
        return *of.promise_;
    }
    template <typename T>
    static std::coroutine_handle<> frame(task<T>& of) noexcept {
        return of.frame_;
    }
};

/// Aborts with one of the sentences unless `child` holds a coroutine that nobody has started.
template <typename T>
void check_startable(task<T>& child, const char* if_moved_from, const char* if_started,
                     misuse_moment moment = misuse_moment::await_or_later) noexcept {
    if (!child) [[unlikely]] misused(__FILE__, __LINE__, if_moved_from, moment);
    if (task_access::promise(child).state != frame_state::unstarted) [[unlikely]]
        misused(__FILE__, __LINE__, if_started, moment);
}
template <typename T>
void check_awaitable(task<T>& child, misuse_moment at = misuse_moment::await_or_later) noexcept {
    check_startable(child, "a task that was moved from was awaited",
                    "a task was awaited that had been started before: it runs once", at);
}

/// Starts `child` as the next frame of its strand, below `parent` (resumed by `continuation`).
/// Returns true if the strand has suspended (or must return to the loop), false if the child has
/// ended already. Started inside the parent's await up to nesting_limit levels, then through the
/// next-slot, so that the stack stays bounded without tail calls.
/// Requires: child.strand is set.
inline bool start_child(frame_link* parent, std::coroutine_handle<> continuation,
                        task_promise_base& child, std::coroutine_handle<> frame) noexcept {
    detail::strand& strand = *child.strand;
    detail::loop& loop = *strand.loop;
    child.parent = parent;
    child.continuation = continuation;
    strand.leaf = &child;
    if (loop.depth >= nesting_limit) {
        child.state = frame_state::detached;
        loop.next = frame;
        return true;
    }
    child.state = frame_state::starting;
    ++loop.depth;
    frame.resume();
    --loop.depth;
    if (child.state == frame_state::ended) {
        strand.leaf = parent;
        return false;
    }
    child.state = frame_state::detached;
    return true;
}

/// Awaits a task that the awaiting expression keeps alive.
template <typename T>
class [[nodiscard]] task_awaiter : public awaiter_face<task_awaiter<T>> {
public:
    explicit task_awaiter(task<T>& child) noexcept : child_(&child) {
        check_awaitable(child, misuse_moment::in_await);
    }
    void bind(detail::strand& strand) noexcept { task_access::promise(*child_).strand = &strand; }
    bool await_ready() const noexcept { return false; }
    bool suspend(frame_link* parent, std::coroutine_handle<> continuation) noexcept {
        task_promise_base& child = task_access::promise(*child_);
        return start_child(parent, continuation, child, task_access::frame(*child_));
    }
    T await_resume() { return task_access::promise(*child_).take(); }
private:
    task<T>* child_;
};

/// Resumes a strand that is made of coroutine frames.
inline void resume_coroutine(detail::strand& self) noexcept { self.resume_point.resume(); }

template <typename T>
struct task_value;
template <typename T>
struct task_value<task<T>> {
    using type = T;
};
template <typename T>
concept task_type = requires { typename task_value<std::remove_cvref_t<T>>::type; };

/// Refuses, at compile time, coroutine parameters that g++ 12 would destroy twice.
template <typename... Parameters>
struct checked_parameters {
    static_assert((!unsafe_aggregate<Parameters> && ...),
                  "coro: g++ 12 may destroy an aggregate with a non-trivial destructor twice when "
                  "it is passed by value to a coroutine: give the type a constructor, pass a "
                  "reference that the awaiter keeps alive, or specialise "
                  "coro::trusted_aggregate<T> if you never pass a braced temporary");
    using closure = typename closure_of<Parameters...>::type;
};

}}}  // namespace coro::v0::detail

template <typename T, typename... Parameters>
struct std::coroutine_traits<coro::task<T>, Parameters...> {
    using promise_type = coro::detail::task_promise<
        T, typename coro::detail::checked_parameters<Parameters...>::closure>;
};
