// The loop and the strand that run on this thread.
#pragma once

#include <coro/base/detail/assert.hpp>
#include <coro/core/detail/strand.hpp>

namespace coro { inline namespace v0 { namespace detail {

inline detail::loop& this_loop() noexcept {
    CORO_ASSERT(current != nullptr, "this needs a running loop: call it inside of coro::run");
    return *current;
}
inline detail::strand& this_strand() noexcept {
    CORO_ASSERT(current != nullptr && current->running != nullptr,
                "this belongs into a task: call it inside of coro::run");
    return *current->running;
}

}}}  // namespace coro::v0::detail
