// Callables that a coroutine keeps: what they may be, and how they are handed over.
#pragma once

#include <type_traits>
#include <utility>

#include <coro/core/detail/lifetime_checks.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

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

/// For callables that end before the await does; `blocking` has a sentence of its own.
template <typename Callable>
constexpr void check_body_callable() {
    static_assert(!unsafe_closure_temporary<Callable>,
                  "coro: g++ 12 may destroy a temporary closure twice in a co_await expression: "
                  "name the lambda first and pass the name (it is copied; coro::moved(name) moves "
                  "it), or capture by reference only");
}

template <typename Callable, typename... Args>
inline constexpr bool returns_task = false;
template <typename Callable, typename... Args>
    requires std::is_invocable_v<Callable, Args...>
inline constexpr bool returns_task<Callable, Args...> =
    task_type<std::invoke_result_t<Callable, Args...>>;

/// Says so if the call of a body gives no task. True: it gives one.
template <typename Body, typename... Args>
consteval bool check_body_task() {
    constexpr bool good = returns_task<std::unwrap_reference_t<std::decay_t<Body>>&, Args...>;
    static_assert(good, "coro: this body returns no task: a lambda that waits says -> coro::task<> "
                        "and has a co_await or co_return; a plain function is made one by "
                        "coro::fiber");
    return good;
}

}}}  // namespace coro::v0::detail
