#include <coro/runtime/shared_mutex.hpp>

namespace coro { inline namespace v0 {

void shared_mutex::unlock() noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_unlock_.send(home_.loop());
    alone_ = false;
    serve();
}

void shared_mutex::unlock_shared(std::size_t sharers) noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_unlock_shared_.send(home_.loop(), sharers);
    sharers_ -= sharers;
    serve();
}

/// Grants from the head of the queue as long as that goes. A grant may withdraw another wait of the
/// queue (a sibling in when_any) and so come here again: all is settled before it.
void shared_mutex::serve() noexcept {
    for (awaiter* first = waiters_.front(); first != nullptr && take_as_first(first->alone_);
         first = waiters_.front()) {
        first->unlink();
        first->end_granted();
    }
}

void shared_mutex::awaiter::cancel_wait() noexcept {
    unlink();
    end_cancelled();
    mutex_.serve();  // it may have stood before readers
}
void shared_mutex::awaiter::describe(detail::text_sink& out) const noexcept {
    out.write(alone_ ? "lock shared_mutex" : "lock_shared shared_mutex");
}

}}  // namespace coro::v0
