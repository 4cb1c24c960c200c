// The promise of a task: how its frame begins, awaits, ends and keeps the value.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/core/detail/awaitable.hpp>
#include <coro/core/detail/destruction.hpp>
#include <coro/core/detail/foreign.hpp>
#include <coro/core/detail/loan.hpp>
#include <coro/core/detail/strand.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/core/detail/lifetime_checks.hpp>

namespace coro { inline namespace v0 {
template <typename T = void>
class task;
}}  // namespace coro::v0

namespace coro { inline namespace v0 { namespace detail {

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

/// Makes a task that nobody has started the outermost frame of `strand`.
inline void put_first(strand& strand, task_promise_base& task,
                      std::coroutine_handle<> frame) noexcept {
    strand.resume_point = frame;
    strand.leaf = &task;
    task.strand = &strand;
    task.state = frame_state::detached;
}

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

}}}  // namespace coro::v0::detail
