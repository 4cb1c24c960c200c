// when_all: several awaitables side by side, until all have ended.
#pragma once

#include <utility>
#include <vector>

#include <coro/core/detail/when_all_awaiter.hpp>

namespace coro { inline namespace v0 {

/// Returns `std::tuple` of the values of all `awaitables` (tasks or operations), in the order of
/// the arguments; std::monostate stands for void. They are awaited side by side. When one throws,
/// the others are cancelled and awaited, and the first error is rethrown; further ones are counted
/// to the report hook.
/// Suspends until the last has ended (not at all if there is none); resumes on this loop. Each
/// starts through the run queue, in order.
/// Throws: the first error; cancelled, when a value is missing because an enclosing scope was
/// cancelled.
/// Cancel safety: values obtained by others are lost when one throws.
/// Requires: it is awaited in the expression that makes it, unless all of `awaitables` are tasks,
/// which it owns.
template <detail::branchable... Awaitables>
    requires(!(detail::owned_operand<Awaitables> && ...))
[[nodiscard("co_await it")]] auto when_all(
    Awaitables&&... awaitables CORO_LIFETIMEBOUND) {
    return detail::when_all_awaiter<detail::held<Awaitables>...>(
        detail::hold(std::forward<Awaitables>(awaitables))...);
}
template <detail::owned_operand... Awaitables>
[[nodiscard("co_await it or spawn it")]] auto when_all(Awaitables&&... awaitables) {
    return detail::when_all_awaiter<detail::held<Awaitables>...>(
        detail::hold(std::forward<Awaitables>(awaitables))...);
}

/// Returns `std::vector` of the values in order: when_all of any number of tasks of one type. For
/// tasks of references the vector is of std::reference_wrapper; for tasks of void there is none.
template <typename T>
[[nodiscard("co_await it or spawn it")]] auto when_all(std::vector<task<T>> tasks) {
    return detail::when_all_list_awaiter<T>(std::move(tasks));
}

}}  // namespace coro::v0
