// when_any: several awaitables side by side, until the first ends; the others are withdrawn.
#pragma once

#include <cstddef>
#include <tuple>
#include <utility>
#include <vector>

#include <coro/base/detail/assert.hpp>
#include <coro/core/detail/branch.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/detail/when_any_awaiter.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 {

/// The result of a when_any of fixed branches: the index of the first, and every value there is. A
/// branch that was not first has a value if it succeeded before it could be withdrawn: nothing is
/// lost.
template <typename... T>
class [[nodiscard]] when_any_result {
public:
    when_any_result(std::size_t first, detail::branch_outcome<T>&&... outcomes)
        : first_(first), outcomes_(std::move(outcomes)...) {}

    /// The branch that ended first, with a value or with an exception; counted from 0.
    [[nodiscard]] std::size_t index() const noexcept { return first_; }
    /// Whether branch `I` ended with a value.
    template <std::size_t I>
    [[nodiscard]] bool has_value() const noexcept {
        return std::get<I>(outcomes_).has_value();
    }
    /// The value of branch `I`. Throws: what that branch threw (`cancelled`, if it was withdrawn).
    template <std::size_t I>
    decltype(auto) get() & {
        return std::get<I>(outcomes_).get();
    }
    template <std::size_t I>
    decltype(auto) get() && {
        return std::move(std::get<I>(outcomes_)).get();
    }

private:
    std::size_t first_;
    std::tuple<detail::branch_outcome<T>...> outcomes_;
};

/// The result of a when_any of a list of tasks; see when_any_result.
template <typename T>
class [[nodiscard]] when_any_list {
public:
    when_any_list(std::size_t first, std::vector<detail::branch_outcome<T>>&& outcomes) noexcept
        : first_(first), outcomes_(std::move(outcomes)) {}

    [[nodiscard]] std::size_t index() const noexcept { return first_; }
    [[nodiscard]] std::size_t size() const noexcept { return outcomes_.size(); }
    /// Requires: i < size().
    [[nodiscard]] bool has_value(std::size_t i) const noexcept {
        CORO_ASSERT(i < size(), "when_any has no branch of this index");
        return outcomes_[i].has_value();
    }
    /// The value of branch `i`. Throws: what that branch threw. Requires: i < size().
    decltype(auto) get(std::size_t i) & {
        CORO_ASSERT(i < size(), "when_any has no branch of this index");
        return outcomes_[i].get();
    }
    decltype(auto) get(std::size_t i) && {
        CORO_ASSERT(i < size(), "when_any has no branch of this index");
        return std::move(outcomes_[i]).get();
    }

private:
    std::size_t first_;
    std::vector<detail::branch_outcome<T>> outcomes_;
};

/// Returns `when_any_result`: the index of the first of `awaitables` that ended, with a value or an
/// exception, and every value obtained. The awaitables (tasks or operations) are awaited side by
/// side. The others are cancelled, and their end is awaited. Of operations of this library (not
/// tasks) the others are withdrawn in the moment in which the first is granted. So at most one
/// takes.
/// Suspends until all have ended; resumes on this loop. Each starts through the run queue, in
/// order; one that starts after another has ended meets `cancelled` at its first await.
/// Throws: cancelled, if an enclosing scope is cancelled and no branch has a value. Exceptions of
/// branches come out of get(); one that nobody has read when the result ends is told to the report
/// hook.
/// Cancel safety: when it throws, no branch had a value.
/// Requires: it is awaited in the expression that makes it, unless all of `awaitables` are tasks,
/// which it owns.
template <detail::branchable... Awaitables>
    requires(!(detail::owned_operand<Awaitables> && ...))
[[nodiscard("co_await it")]] auto when_any(
    Awaitables&&... awaitables CORO_LIFETIMEBOUND) {
    return detail::when_any_awaiter<detail::held<Awaitables>...>(
        detail::hold(std::forward<Awaitables>(awaitables))...);
}
template <detail::owned_operand... Awaitables>
    requires(sizeof...(Awaitables) > 0)
[[nodiscard("co_await it or spawn it")]] auto when_any(Awaitables&&... awaitables) {
    return detail::when_any_awaiter<detail::held<Awaitables>...>(
        detail::hold(std::forward<Awaitables>(awaitables))...);
}

/// Returns `when_any_list`: when_any of any number of tasks of one type.
/// Requires: `tasks` is not empty.
template <typename T>
[[nodiscard("co_await it or spawn it")]] auto when_any(std::vector<task<T>> tasks) {
    return detail::when_any_list_awaiter<T>(std::move(tasks));
}

}}  // namespace coro::v0
