// with_cancel_scope: a region of work that its own code can cancel as a whole.
#pragma once

#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/core/callable.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 {
namespace detail {

/// The running strand inside a scope of its own, from construction to destruction.
class scope_stay {
public:
    scope_stay() noexcept : strand_(*current->running) {
        scope_access::open(scope, strand_);
        scope_access::enter(strand_, scope);
    }
    scope_stay(const scope_stay&) = delete;
    scope_stay& operator=(const scope_stay&) = delete;
    ~scope_stay() {
        scope_access::leave(strand_, scope);
        scope_access::close(scope);
    }

    scope_access::owned scope;

private:
    detail::strand& strand_;
};

template <typename T>
using value_unless_cancelled =
    std::conditional_t<std::is_void_v<T>, bool, std::optional<storable<T>>>;

template <typename Body>
task<value_unless_cancelled<body_value<Body, cancel_scope&>>> cancel_scope_coroutine(Body body) {
    using value = body_value<Body, cancel_scope&>;
    scope_stay stay;
    cancel_scope& scope = stay.scope;
    try {
        if constexpr (std::is_void_v<value>) {
            co_await call_body(body, scope);
            co_return true;
        } else {
            co_return std::optional<storable<value>>(co_await call_body(body, scope));
        }
    } catch (const cancelled&) {
        if (!scope_access::swallows(scope)) throw;
    }
    if constexpr (std::is_void_v<value>) co_return false;
    else co_return std::optional<storable<value>>();
}

}  // namespace detail

/// Returns `std::optional` with the value of the task that `body(scope)` returns (for void: true).
/// It is empty (false) if scope.cancel() ended the task and no enclosing scope is cancelled. The
/// task is awaited inside `scope`. The body may cancel `scope`, and so may code to which it hands
/// the reference. A value that comes in spite of the cancellation is returned. `body` is kept to
/// the end and may capture.
/// Requires: `scope` is used on this loop, and not after the end of the await.
/// Suspends and resumes as the body does. Throws: what the body throws; cancelled, if an enclosing
/// scope was cancelled. Cancel safety: that of the body.
template <typename Body>
    requires std::invocable<std::unwrap_reference_t<std::decay_t<Body>>&, cancel_scope&>
[[nodiscard("co_await it or spawn it")]] auto with_cancel_scope(Body&& body) {
    detail::check_body_callable<Body>();
    if constexpr (detail::check_body_task<Body, cancel_scope&>())
        return detail::cancel_scope_coroutine<std::decay_t<Body>>(std::forward<Body>(body));
}

}}  // namespace coro::v0
