// task<T>: a lazy coroutine that one awaiter owns; starts when awaited, ends before its awaiter
// goes on.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <new>
#include <source_location>
#include <type_traits>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/core/detail/awaitable.hpp>
#include <coro/core/detail/strand.hpp>
#include <coro/core/detail/destruction.hpp>
#include <coro/core/detail/foreign.hpp>
#include <coro/core/lifetime_checks.hpp>
#include <coro/core/detail/loan.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

template <typename T = void>
class task;

/// Whether a task that is destroyed before it ever started is told to the report hook (at first it
/// is). Not told: a task that ends because an exception passes, and a parameter or local variable
/// of a task that failed or never started. For the whole process; any thread.
CORO_EXPORT void report_unstarted_tasks(bool on) noexcept;

namespace detail {

template <typename T>
class task_awaiter;
struct task_access;

enum class frame_state : std::uint8_t {
    unstarted,
    starting,  ///< running inside its parent's await: reaching the end only sets `ended`
    detached,  ///< suspended once, or a root: the end resumes the parent or ends the strand
    ended,
};

/// The part of a task's promise that does not depend on its value.
class task_promise_base : public frame_link {
public:
    task_promise_base(const task_promise_base&) = delete;
    task_promise_base& operator=(const task_promise_base&) = delete;

    static void* operator new(std::size_t size) { return allocate_block(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        free_block(memory, size);
    }

    std::suspend_always initial_suspend() const noexcept { return {}; }

    /// Never a symmetric transfer: g++ 12 makes a tail call of it only at -O2 without sanitizers.
    /// The parent is resumed by the loop, through the next-slot (decision record 0008).
    struct final_awaiter {
        bool await_ready() const noexcept { return false; }
        template <typename Promise>
        void await_suspend(std::coroutine_handle<Promise> frame) const noexcept {
            task_promise_base& self = frame.promise();
            if (self.state == frame_state::starting) {
                self.state = frame_state::ended;
                return;
            }
            self.state = frame_state::ended;
            detail::strand& strand = *self.strand;
            if (self.continuation) {
                strand.leaf = self.parent;
                strand.loop->next = self.continuation;
            } else {
                strand.kind->finished(strand);  // may destroy this frame: touch nothing after it
            }
        }
        void await_resume() const noexcept {}
    };
    final_awaiter final_suspend() const noexcept { return {}; }

    void unhandled_exception() noexcept {
        error = std::current_exception();
        failed = true;
        if (lends != 0) [[unlikely]] check_lent(*this, error);
    }
    [[nodiscard]] bool ended_well() const noexcept {
        return state == frame_state::ended && !failed;
    }

    // Awaits of library operations, tasks, and foreign awaitables by proxy. Each await leaves its
    // source location for the dump: one store.
    template <own_awaiter Awaiter>
    auto await_transform(
        Awaiter&& op, std::source_location where = std::source_location::current()) noexcept {
        refuse_named_bound_awaiter<Awaiter>();
        awaiting = where;
        op.bind(*strand);
        // Not `return op`: g++ 12 copies what await_transform returns by reference.
        return awaiter_reference<std::remove_reference_t<Awaiter>>(op);
    }
    template <typename U>
    task_awaiter<U> await_transform(
        task<U>&& child, std::source_location where = std::source_location::current()) noexcept {
        awaiting = where;
        task_awaiter<U> awaiter(child);
        awaiter.bind(*strand);
        return awaiter;
    }
    template <typename U>
    task_awaiter<U> await_transform(task<U>& child, std::source_location = {}) noexcept {
        refuse_named_task<task<U>>();
        return task_awaiter<U>(child);
    }
    template <typename Foreign>
        requires(!own_awaiter<Foreign>)
    auto await_transform(Foreign&& awaitable,
                         std::source_location where = std::source_location::current()) {
        awaiting = where;
        refuse_unawaitable<Foreign>();
        return foreign_awaiter<Foreign>(*strand, std::forward<Foreign>(awaitable));
    }

    std::coroutine_handle<> continuation{};  ///< the parent frame; empty for the strand's first
    std::exception_ptr error;
    frame_state state = frame_state::unstarted;
    bool failed = false;             ///< it ended, or will end at once, by an exception
    bool capturing_closure = false;  ///< the body of a capturing lambda: must not be spawned
    std::uint8_t offset_in_frame = 0;  ///< of this promise; 0: not known
    /// How many references into this frame spawned tasks have. The greatest number stays: it may
    /// stand for more. (A wider one would make frames larger.)
    std::uint16_t lends = 0;

protected:
    explicit task_promise_base(std::source_location where) noexcept {
        created = where;
        awaiting = where;
        frame_created(this, where);
    }
    ~task_promise_base() {
        if (lends != 0) [[unlikely]] check_lent(*this, nullptr);
        frame_destroyed(this);
    }
};

/// Where the value of a task waits until its awaiter takes it.
template <typename T>
class task_promise_value : public task_promise_base {
public:
    explicit task_promise_value(std::source_location where) noexcept : task_promise_base(where) {}
    ~task_promise_value() {
        if (has_value_) std::destroy_at(&value_);
    }

    template <typename U>
        requires std::constructible_from<T, U>
    void return_value(U&& value) noexcept(std::is_nothrow_constructible_v<T, U>) {
        std::construct_at(&value_, std::forward<U>(value));
        has_value_ = true;
    }

    T take() {
        if (error) std::rethrow_exception(std::move(error));
        return std::move(value_);
    }
private:
    union {
        T value_;
    };
    bool has_value_ = false;
};

template <typename T>
    requires std::is_reference_v<T>
class task_promise_value<T> : public task_promise_base {
public:
    using task_promise_base::task_promise_base;

    void return_value(T value) noexcept { value_ = std::addressof(value); }
    T take() {
        if (error) std::rethrow_exception(std::move(error));
        return static_cast<T>(*value_);
    }

private:
    std::remove_reference_t<T>* value_ = nullptr;
};

template <>
class task_promise_value<void> : public task_promise_base {
public:
    using task_promise_base::task_promise_base;

    void return_void() noexcept {}
    void take() {
        if (error) std::rethrow_exception(std::move(error));
    }
};

template <typename T, typename Closure>
class task_promise final : public task_promise_value<T> {
public:
    explicit task_promise(std::source_location where = std::source_location::current()) noexcept
        : task_promise_value<T>(where) {
        this->capturing_closure = has_captures<Closure>();
        this->offset_in_frame = promise_offset(alignof(task_promise));
    }
    task<T> get_return_object() noexcept;
};

}  // namespace detail

/// A coroutine that starts when it is awaited, in the awaiter's strand, and ends before the await
/// does. T may be void, a reference, or move-only. Move-only itself; destroying a task that was
/// never started runs nothing of it, destroys its parameters, and is told to the report hook.
/// Where tasks own each other more than 12 deep, the destructor of an inner one returns before its
/// frame is destroyed. The parameters that the outer ones still have go first. All frames are gone
/// when the outermost destructor returns. So the destructor of an inner parameter must not use an
/// object of an outer frame by a reference: share that object (std::shared_ptr).
///
/// Coroutine parameters: by value, or references to what the awaiter keeps alive. A capturing
/// lambda as a coroutine is fine when awaited at once, and refused by spawn.
template <typename T>
class [[nodiscard("co_await it or spawn it")]] task {
public:
    using value_type = T;

    task(task&& other) noexcept
        : frame_(std::exchange(other.frame_, {})),
          promise_(std::exchange(other.promise_, nullptr)) {}
    task& operator=(task&& other) noexcept {
        if (this != &other) {
            destroy();
            frame_ = std::exchange(other.frame_, {});
            promise_ = std::exchange(other.promise_, nullptr);
        }
        return *this;
    }
    ~task() { destroy(); }

    /// Whether it still holds a coroutine (it was not moved from).
    [[nodiscard]] explicit operator bool() const noexcept { return promise_ != nullptr; }

    // A foreign coroutine that awaits a task meets these, and the sentence.
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise>) const noexcept {
        static_assert(detail::own_promise<Promise>,
                      "coro: only a coro::task (or a fiber, by coro::await) can await a "
                      "coro::task; a foreign coroutine type has no cancel scope and no loop");
    }
    T await_resume() const;

private:
    template <typename, typename>
    friend class detail::task_promise;
    friend struct detail::task_access;

    task(std::coroutine_handle<> frame, detail::task_promise_value<T>& promise) noexcept
        : frame_(frame), promise_(&promise) {}

    void destroy() noexcept {
        if (promise_ == nullptr) return;
        if (promise_->ended_well()) [[likely]] detail::destroy_frame(frame_, *promise_);
        else detail::destroy_unfinished(frame_, *promise_);
    }

    std::coroutine_handle<> frame_;
    detail::task_promise_value<T>* promise_;
};

namespace detail {

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

}  // namespace detail
}}  // namespace coro::v0

template <typename T, typename... Parameters>
struct std::coroutine_traits<coro::task<T>, Parameters...> {
    using promise_type = coro::detail::task_promise<
        T, typename coro::detail::checked_parameters<Parameters...>::closure>;
};
