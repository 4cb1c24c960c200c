#include <coro/runtime/sleep.hpp>

namespace coro { inline namespace v0 { namespace detail {

void sleep_awaiter::cancel_wait() noexcept {
    loop().disarm_timer(timer_);
    end_cancelled();
}
void sleep_awaiter::describe(text_sink& out) const noexcept { out.write("sleep"); }

// A strand that yields is ready, never waiting.
void yield_awaiter::cancel_wait() noexcept {}
void yield_awaiter::describe(text_sink& out) const noexcept { out.write("yield"); }

}}}  // namespace coro::v0::detail
