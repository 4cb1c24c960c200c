// The hooks of a loop that pass on to a program's task_observer.
#pragma once

#include <coro/core/detail/loop.hpp>
#include <coro/runtime/task_observer.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// `observer` must outlive the loops that have the hooks.
[[nodiscard]] task_hooks hooks_for(task_observer& observer) noexcept;

}}}  // namespace coro::v0::detail
