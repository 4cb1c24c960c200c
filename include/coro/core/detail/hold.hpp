// Holders of combinators for their arguments: tasks by value, everything else by reference.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#if !defined(_GLIBCXX_RELEASE) || _GLIBCXX_RELEASE > 12  // 12's <memory> has reference_wrapper
#include <functional>
#endif

#include <coro/core/detail/awaitable.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Awaits a task and owns it.
template <typename T>
class [[nodiscard]] owning_task_awaiter : public awaiter_face<owning_task_awaiter<T>> {
public:
    explicit owning_task_awaiter(task<T>&& child) noexcept : owned_(std::move(child)) {
        check_awaitable(owned_);
    }
    void bind(detail::strand& strand) noexcept {
        check_awaitable(owned_);
        task_access::promise(owned_).strand = &strand;
    }
    bool await_ready() const noexcept { return false; }
    bool suspend(frame_link* parent, std::coroutine_handle<> continuation) noexcept {
        task_promise_base& child = task_access::promise(owned_);
        return start_child(parent, continuation, child, task_access::frame(owned_));
    }
    T await_resume() { return task_access::promise(owned_).take(); }

    /// The task, if it is the body of a lambda with captures.
    [[nodiscard]] const frame_link* capturing() noexcept {
        if (!owned_) return nullptr;
        const task_promise_base& child = task_access::promise(owned_);
        return child.capturing_closure ? &child : nullptr;
    }

private:
    task<T> owned_;
};
/// The same for a task that refers to what it awaits.
template <typename T>
class [[nodiscard]] referring_task_awaiter : public owning_task_awaiter<T> {
public:
    using owning_task_awaiter<T>::owning_task_awaiter;
};

template <typename T>
owning_task_awaiter<T> hold(task<T>&& child) noexcept {
    return owning_task_awaiter<T>(std::move(child));
}

template <typename T>
owning_task_awaiter<T> hold(task<T>& named) noexcept {
    refuse_named_task<task<T>>();
    return owning_task_awaiter<T>(std::move(named));
}

/// An operation lives until the end of the awaiting expression.
template <own_awaiter Op>
awaiter_reference<std::remove_reference_t<Op>> hold(Op&& op) noexcept {
    refuse_named_bound_awaiter<Op>();
    return awaiter_reference<std::remove_reference_t<Op>>(op);
}

/// Somebody else's awaitable; the same holds for it. A task of ours stands in for it.
template <typename Awaitable>
concept foreign_awaitable =
    !own_awaiter<Awaitable> && !task_type<Awaitable> && awaitable_type<Awaitable>;
template <foreign_awaitable Awaitable>
using foreign_result =
    decltype(obtain_awaiter(std::declval<Awaitable>()).await_resume());
template <foreign_awaitable Awaitable>
task<foreign_result<Awaitable>> await_foreign(Awaitable&& awaitable) {
    co_return co_await std::forward<Awaitable>(awaitable);
}
template <foreign_awaitable Awaitable>
auto hold(Awaitable&& awaitable) {
    return referring_task_awaiter<foreign_result<Awaitable>>(
        await_foreign(std::forward<Awaitable>(awaitable)));
}

/// A type that a combinator can await: a task, an operation, or a foreign awaitable.
template <typename Awaitable>
concept branchable = requires { hold(std::declval<Awaitable>()); };
/// One that a combinator moves in, so that the combinator may be stored and returned; and one to
/// which it refers.
template <typename Awaitable>
concept owned_operand = branchable<Awaitable> && task_type<Awaitable>;
template <typename Awaitable>
concept referred_operand = branchable<Awaitable> && !task_type<Awaitable>;

template <typename Awaitable>
using held = decltype(hold(std::declval<Awaitable>()));
template <typename Awaitable>
using await_result = decltype(std::declval<held<Awaitable>&>().await_resume());

/// A type that can be awaited and is no task.
template <typename Awaitable>
concept task_free_awaitable = branchable<Awaitable> && !task_type<Awaitable>;

// --- operations that own what they await, and so can be run and spawned

/// Whether awaiters of this type own all that they await: tasks. All others belong to the
/// expression that makes them, or cannot be moved.
template <typename Op>
inline constexpr bool owns_operands = false;
template <typename T>
inline constexpr bool owns_operands<owning_task_awaiter<T>> = true;
/// Whether what such an operation returns says nothing that the program would miss.
template <typename Op>
inline constexpr bool returns_nothing =
    std::is_void_v<decltype(std::declval<Op&>().await_resume())>;

template <typename Awaitable>
concept owning_operation = own_awaiter<Awaitable> && owns_operands<std::remove_cvref_t<Awaitable>>;

/// An operation that nobody awaits yet, on its way into a task.
template <typename Op>
class carried {
public:
    explicit carried(Op& from) : op(from.relocated()) {}
    carried(carried&& from) : op(from.op.relocated()) {}
    carried& operator=(carried&&) = delete;
    ~carried() = default;

    Op op;
};
// A local variable ends on the loop of the task; a parameter would end wherever the frame does.
template <typename Op>
task<decltype(std::declval<Op&>().await_resume())> operation_coroutine(carried<Op> it) {
    Op op = it.op.relocated();
    co_return co_await std::move(op);
}
template <typename Op>
task<> spawned_operation_coroutine(carried<Op> it) {
    Op op = it.op.relocated();
    (void)co_await std::move(op);
}

/// Such a one as it is made, or moved.
template <typename Awaitable>
concept runnable = owning_operation<Awaitable> && !std::is_lvalue_reference_v<Awaitable>;
/// The compiler's sentence for all others.
template <typename Awaitable>
constexpr void refuse_operation() {
    static_assert(runnable<Awaitable>,
                  "coro: this takes a task, or a combinator of nothing but tasks; another "
                  "operation lives in the await that makes it: await it in a task, and hand in "
                  "that");
}

/// A task that owns and awaits `operation`, whose tasks are moved into it.
template <runnable Operation>
auto as_task(Operation&& operation) {
    return operation_coroutine(carried<Operation>(operation));
}
/// The same for a child; its value is dropped.
template <owning_operation Operation>
task<> as_child(Operation&& operation) {
    using op = std::remove_cvref_t<Operation>;
    refuse_named_bound_awaiter<Operation>();
    static_assert(returns_nothing<op>,
                  "coro: nobody would see what this operation returns: await it, or spawn a task<> "
                  "that hands the value out by a reference or a channel");
    const frame_link* const capturing = operation.capturing();
    task<> child = spawned_operation_coroutine(carried<op>(operation));
    if (capturing != nullptr) [[unlikely]] {
        // spawn refuses it, and names the lambda.
        task_access::promise(child).capturing_closure = true;
        task_access::promise(child).created = capturing->created;
    }
    return child;
}

/// A value as it stands in an optional or a vector.
template <typename T>
using storable = std::conditional_t<std::is_reference_v<T>,
                                    std::reference_wrapper<std::remove_reference_t<T>>, T>;

/// What comes of an await that a cancellation of our own may end: an optional, which is empty then,
/// or false where there is no value.
template <typename T>
using value_unless_cancelled =
    std::conditional_t<std::is_void_v<T>, bool, std::optional<storable<T>>>;

}}}  // namespace coro::v0::detail
