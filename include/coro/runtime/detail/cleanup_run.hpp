// How with_cleanup runs the work and what comes after it.
#pragma once

#include <concepts>
#include <exception>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/timeout.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A task, or something to call for one.
template <typename Body>
concept task_source = task_type<Body> || std::invocable<std::unwrap_reference_t<Body>&>;
/// Says so if it is something to call that gives no task.
template <typename Body>
consteval bool check_task_source() {
    if constexpr (task_type<Body>) return true;
    else return check_body_task<Body>();
}
template <typename Body>
using source_value =
    typename task_value<decltype(call_body(std::declval<Body&>()))>::type;

/// Tells the report hook of a clean-up that failed after its body had failed as well.
CORO_EXPORT void report_failed_cleanup(const std::exception_ptr& error) noexcept;

template <typename Body, typename Cleanup>
task<source_value<Body>> cleanup_coroutine(Body body, Cleanup cleanup, duration limit,
                                             std::source_location where) {
    using value = source_value<Body>;
    std::optional<std::conditional_t<std::is_void_v<value>, bool, storable<value>>> result;
    std::exception_ptr error;
    try {
        if constexpr (std::is_void_v<value>) co_await call_body(body);
        else result.emplace(co_await call_body(body));
    } catch (...) {
        error = std::current_exception();
    }
    std::exception_ptr from_cleanup;
    try {
        co_await shield(call_body(cleanup), limit, where);
    } catch (...) {
        from_cleanup = std::current_exception();
    }
    if (error) {
        if (from_cleanup) report_failed_cleanup(from_cleanup);
        std::rethrow_exception(std::move(error));
    }
    if (from_cleanup) std::rethrow_exception(std::move(from_cleanup));
    if constexpr (!std::is_void_v<value>) co_return std::move(*result);
}

}}}  // namespace coro::v0::detail
