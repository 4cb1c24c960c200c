// Awaitables: the protocol of our own awaiters, and the concepts for those of others.
#pragma once

#include <concepts>
#include <coroutine>
#include <type_traits>
#include <utility>

#include <coro/core/detail/strand.hpp>

namespace coro { inline namespace v0 { namespace detail {

class task_promise_base;

/// Promise types whose coroutines may await the library's operations.
template <typename Promise>
concept own_promise = std::derived_from<Promise, task_promise_base>;

/// Tag of our own awaiters.
struct own_awaiter_tag {};

/// Tag of those that refer to other temporaries of the expression that makes them.
struct bound_awaiter_tag {};

/// Whether `Awaitable` is such an awaiter and has a name: the temporaries that it refers to may be
/// gone.
template <typename Awaitable>
inline constexpr bool named_bound_awaiter =
    std::is_lvalue_reference_v<Awaitable> &&
    std::derived_from<std::remove_cvref_t<Awaitable>, bound_awaiter_tag>;

/// The compiler's sentence for it.
template <typename Awaitable>
constexpr void refuse_named_bound_awaiter() {
    static_assert(!named_bound_awaiter<Awaitable>,
                  "coro: this refers to temporaries of the expression that made it, which are gone "
                  "when it has a name: await it there, as in co_await with_timeout(1s, "
                  "peer.read_some(b))");
}

/// The compiler's sentence for a task that has a name.
template <typename Task>
constexpr void refuse_named_task() {
    static_assert(sizeof(Task) == 0,
                  "coro: an await uses a task up; a named one must be std::move'd, as in co_await "
                  "std::move(work)");
}

inline constexpr const char* awaited_twice =
    "an operation was awaited a second time: it runs once; call its function again for another";

/// Our own awaiters follow one protocol, in a task, in a fiber, and inside of a combinator:
///   void bind(strand&)             the strand that awaits; once, first
///   bool await_ready()             true: no suspension; entry check of cancellation
///   bool suspend(parent, resume)   true: the strand gives way, later `resume` is resumed
///   R    await_resume()            the result, or throws; exactly once after bind()
template <typename T>
concept own_awaiter =
    std::derived_from<std::remove_cvref_t<T>, own_awaiter_tag> &&
    requires(std::remove_cvref_t<T>& op, detail::strand& strand, frame_link* parent,
             std::coroutine_handle<> resume) {
        op.bind(strand);
        { op.await_ready() } -> std::same_as<bool>;
        { op.suspend(parent, resume) } -> std::same_as<bool>;
        op.await_resume();
    };

/// The coroutine-facing side of the protocol.
template <typename Derived>
class awaiter_face : public own_awaiter_tag {
public:
    template <typename Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) noexcept {
        static_assert(own_promise<Promise>,
                      "coro: only a coro::task (or a fiber, by coro::await) can await this; a "
                      "foreign coroutine type has no cancel scope and no loop");
        return static_cast<Derived*>(this)->suspend(&frame.promise(), frame);
    }
};

/// Stands for an awaiter that lives elsewhere until the end of the awaiting expression.
template <typename Op>
class awaiter_reference : public awaiter_face<awaiter_reference<Op>> {
public:
    explicit awaiter_reference(Op& op) noexcept : op_(&op) {}

    void bind(detail::strand& strand) noexcept { op_->bind(strand); }
    bool await_ready() { return op_->await_ready(); }
    bool suspend(frame_link* parent, std::coroutine_handle<> resume) noexcept {
        return op_->suspend(parent, resume);
    }
    decltype(auto) await_resume() { return op_->await_resume(); }

private:
    Op* op_;
};

// --- awaitables of other libraries

template <typename T>
concept has_await_members = requires(T& object) {
    object.await_ready();
    object.await_resume();
};
template <typename T>
concept has_member_co_await = requires(T&& object) { std::forward<T>(object).operator co_await(); };
template <typename T>
concept has_free_co_await = requires(T&& object) { operator co_await(std::forward<T>(object)); };
template <typename T>
concept awaitable_type = has_member_co_await<T> || has_free_co_await<T> ||
                         has_await_members<std::remove_reference_t<T>>;

template <typename Awaitable>
decltype(auto) obtain_awaiter(Awaitable&& awaitable) {
    if constexpr (has_member_co_await<Awaitable>)
        return std::forward<Awaitable>(awaitable).operator co_await();
    else if constexpr (has_free_co_await<Awaitable>)
        return operator co_await(std::forward<Awaitable>(awaitable));
    else
        return std::forward<Awaitable>(awaitable);
}

}}}  // namespace coro::v0::detail
