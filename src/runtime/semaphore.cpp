#include <coro/runtime/semaphore.hpp>

#include "base/text_line.hpp"

namespace coro { inline namespace v0 {

void semaphore::awaiter::cancel_wait() noexcept {
    unlink();
    end_cancelled();
    semaphore_.serve();  // it may have stood before smaller requests
}
void semaphore::awaiter::describe(detail::text_sink& out) const noexcept {
    detail::text_line<64> text;
    text.add("acquire ");
    text.add_number(amount_);
    text.add(" of semaphore");
    out.write(text.view());
}

}}  // namespace coro::v0
