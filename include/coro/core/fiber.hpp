// Fibers: functions on a stack of their own, which may wait anywhere in it.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/detail/fiber_core.hpp>
#include <coro/core/detail/lifetime_checks.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 {

/// The stack of a fiber that asks for no more. Only pages that it touches cost memory.
inline constexpr std::size_t default_stack_bytes = 64 * 1024;

struct fiber_options {
    std::size_t stack_bytes = default_stack_bytes;  ///< rounded up to a power of two
};

/// Returns what `function` returns: a task whose body is a plain function that runs on a stack of
/// its own and waits with coro::await. `function` and `args` are copied or moved into the task, as
/// std::thread does, and live to its end. A capturing lambda is fine. References are said with
/// std::ref.
/// Suspends until `function` returns; resumes on this loop, where the fiber stays all its life.
/// Throws: what `function` throws; io_error (not_enough_memory) when the kernel maps no more
/// stacks: it allows vm.max_map_count mappings, and a stack is two.
/// Cancel safety: that of `function`, whose awaits throw `cancelled`.
template <typename Function, typename... Args>
    requires detail::fiber_callable<Function, Args...>
[[nodiscard("co_await it or spawn it")]] auto fiber(fiber_options options,
                                                    Function&& function, Args&&... args) {
    detail::check_body_callable<Function>();
    static_assert(((std::is_lvalue_reference_v<Args> || !detail::unsafe_aggregate<Args>) && ...),
                  "coro: g++ 12 may destroy a temporary aggregate twice in a co_await expression: "
                  "give it a name first and std::move it, or use spawn_fiber");
    return detail::make_fiber(options.stack_bytes, std::forward<Function>(function),
                              std::forward<Args>(args)...);
}
template <typename Function, typename... Args>
    requires detail::fiber_callable<Function, Args...>
[[nodiscard("co_await it or spawn it")]] auto fiber(Function&& function, Args&&... args) {
    return fiber(fiber_options{}, std::forward<Function>(function), std::forward<Args>(args)...);
}

}}  // namespace coro::v0
