// What combinators hold for what they are given: tasks by value, everything else by reference.
#pragma once

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>
#if !defined(_GLIBCXX_RELEASE) || _GLIBCXX_RELEASE > 12  // 12's <memory> has reference_wrapper
#include <functional>
#endif

#include <coro/core/awaitable.hpp>
#include <coro/core/task.hpp>

namespace coro::inline v0::detail {

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
    return owning_task_awaiter<foreign_result<Awaitable>>(
        await_foreign(std::forward<Awaitable>(awaitable)));
}

/// What a combinator can await: a task, an operation, or somebody else's awaitable.
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

/// What can be awaited and is no task. It belongs to the await: it may not outlive its loop.
template <typename Awaitable>
concept task_free_awaitable = branchable<Awaitable> && !task_type<Awaitable>;
template <typename Awaitable>
constexpr void refuse_operation() {
    static_assert(sizeof(Awaitable) == 0,
                  "coro: this takes a task, and an operation lives in the await of one: await it "
                  "in a task, and hand in that");
}

/// A value as it stands in an optional or a vector.
template <typename T>
using storable = std::conditional_t<std::is_reference_v<T>,
                                    std::reference_wrapper<std::remove_reference_t<T>>, T>;

}  // namespace coro::inline v0::detail
