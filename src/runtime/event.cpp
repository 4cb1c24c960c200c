#include <coro/runtime/event.hpp>

namespace coro { inline namespace v0 {

void event::awaiter::cancel_wait() noexcept {
    unlink();
    end_cancelled();
}
void event::awaiter::describe(detail::text_sink& out) const noexcept {
    out.write("wait for event");
}

}}  // namespace coro::v0
