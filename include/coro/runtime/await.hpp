// coro::await: how a fiber waits.
#pragma once

#include <source_location>
#include <utility>

#include <coro/core/detail/branch.hpp>
#include <coro/core/fiber.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/runtime/timeout.hpp>

namespace coro { inline namespace v0 {

/// co_await for fibers: returns what a task, an operation or a foreign awaitable returns.
/// It may be called in any function that runs on the fiber's stack. In a destructor that runs
/// because an exception is on its way, it is shielded from cancellation and deadlines, for at most
/// default_shield_limit.
/// Requires: a fiber runs (aborts otherwise); `awaitable` is a temporary or std::move'd.
/// Suspends and resumes as `awaitable` does; other tasks and fibers of the loop run meanwhile.
/// Throws: what `awaitable` throws; io_error (errc::deadline_exceeded) at the limit of a clean-up.
/// Cancel safety: that of `awaitable`.
// Inlined, because a return after a switch is mispredicted (see fiber_core::jump_from_here).
template <typename Awaitable>
[[gnu::always_inline]] inline decltype(auto) await(
    Awaitable&& awaitable, std::source_location where = std::source_location::current()) {
    static_assert(detail::branchable<Awaitable>,
                  "coro: this cannot be awaited: it is no task (a named one must be std::move'd), "
                  "no operation of the library, and nothing that co_await takes");
    detail::fiber_core& fiber = detail::this_fiber(where);
    fiber.begin_await(where);
    using inner = detail::held<Awaitable>;
    if (fiber.unwinding()) [[unlikely]] {
        detail::timeout_awaiter<inner> shielded(detail::hold(std::forward<Awaitable>(awaitable)),
                                                {.span = default_shield_limit}, "clean-up",
                                                where, true);
        return fiber.await_in_unwinding(shielded);
    }
    inner op = detail::hold(std::forward<Awaitable>(awaitable));
    return fiber.await_here(op);
}

}}  // namespace coro::v0
