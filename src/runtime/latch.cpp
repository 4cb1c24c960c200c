#include <coro/runtime/latch.hpp>

namespace coro { inline namespace v0 {

void latch::awaiter::cancel_wait() noexcept {
    unlink();
    end_cancelled();
}
void latch::awaiter::describe(detail::text_sink& out) const noexcept {
    out.write("wait for latch");
}

}}  // namespace coro::v0
