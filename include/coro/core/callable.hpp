// Callables that a combinator keeps and calls: bodies of groups and scopes, clean-ups.
#pragma once

#include <type_traits>
#include <utility>

#include <coro/core/lifetime_checks.hpp>
#include <coro/core/task.hpp>

namespace coro::inline v0::detail {

/// The task that a body returns (std::ref stands for what it refers to), and that task's value.
template <typename Callable, typename... Args>
using body_task = std::invoke_result_t<std::unwrap_reference_t<Callable>&, Args...>;
template <typename Callable, typename... Args>
using body_value = typename task_value<body_task<Callable, Args...>>::type;

/// Calls a kept body. A task made ahead stands for a body that was called already.
template <typename Body, typename... Args>
auto call_body(Body& body, Args&... args) {
    if constexpr (task_type<Body>) return std::move(body);
    else return static_cast<std::unwrap_reference_t<Body>&>(body)(args...);
}

template <typename Callable>
constexpr void check_body_callable() {
    static_assert(!unsafe_closure_temporary<Callable>,
                  "coro: g++ 12 may destroy a temporary closure twice in a co_await expression: "
                  "name the lambda first and pass the name (it is copied; std::ref if it cannot "
                  "be), or capture by reference only");
}

}  // namespace coro::inline v0::detail
