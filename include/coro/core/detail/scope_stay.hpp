// The strand inside a scope of its own, for with_cancel_scope.
#pragma once

#include <type_traits>

#include <coro/base/error.hpp>
#include <coro/core/detail/callable.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

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
            co_return value_unless_cancelled<value>(co_await call_body(body, scope));
        }
    } catch (const cancelled&) {
        if (!scope_access::swallows(scope)) throw;
    }
    co_return value_unless_cancelled<value>{};
}

}}}  // namespace coro::v0::detail
