#include <coro/runtime/barrier.hpp>

namespace coro { inline namespace v0 {

/// False: it must wait, and has not been counted.
bool barrier::arrive() noexcept {
    if (arrived_ + 1 < parties_) return false;
    end_round(false);
    return true;
}

void barrier::drop(std::size_t parties) noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_drop_.send(home_.loop(), parties);
    CORO_ASSERT(parties <= parties_, "a barrier was told to drop more parties than it has");
    parties_ -= parties;
    if (arrived_ != 0 && arrived_ >= parties_) end_round(true);
}

/// A grant may withdraw another wait of the list (a sibling in when_any): always ask for the first.
void barrier::end_round(bool first_is_the_one) noexcept {
    while (awaiter* first = waiters_.pop_front()) {
        --arrived_;
        first->is_the_one_ = first_is_the_one;
        first_is_the_one = false;
        first->end_granted();
    }
}

void barrier::awaiter::cancel_wait() noexcept {
    unlink();
    --barrier_.arrived_;
    end_cancelled();
}
/// No counts: the dump of another loop may ask, and they are this loop's.
void barrier::awaiter::describe(detail::text_sink& out) const noexcept {
    out.write("wait at barrier");
}

}}  // namespace coro::v0
