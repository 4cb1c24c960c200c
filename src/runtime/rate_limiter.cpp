// A bucket: how many tokens are there, and when the next one comes.
#include <coro/runtime/rate_limiter.hpp>

#include <cstdint>

#include <coro/runtime/detail/this_strand.hpp>

#include "base/text_line.hpp"

namespace coro { inline namespace v0 {

rate_limiter::rate_limiter(const rate_limit& limit) noexcept
    : between_(limit.tokens == 0 ? duration::zero()
                                 : limit.per / static_cast<duration::rep>(limit.tokens)),
      burst_(limit.burst),
      tokens_(limit.burst),
      timer_(*this) {
    CORO_ASSERT(between_ > duration::zero() && burst_ > 0,
                "a rate_limiter needs tokens, a burst, and a nanosecond between two tokens");
}

void rate_limiter::refill(time_point present) noexcept {
    if (tokens_ == burst_) return;
    // No token is further away than that: the time is that of an earlier run, with another clock.
    if (next_ > saturating_add(present, between_)) {
        tokens_ = burst_;
        return;
    }
    if (present < next_) return;
    const std::uint64_t come = 1 + static_cast<std::uint64_t>((present - next_) / between_);
    tokens_ = come < burst_ - tokens_ ? tokens_ + come : burst_;
    next_ = saturating_add(present - (present - next_) % between_, between_);
}

time_point rate_limiter::ready_at(std::size_t amount) const noexcept {
    duration::rep more = 0;
    if (__builtin_mul_overflow(between_.count(), amount - tokens_ - 1, &more)) return never;
    return saturating_add(next_, duration(more));
}

bool rate_limiter::take_now(std::size_t amount) noexcept {
    const time_point present = detail::this_loop().turn_time;
    refill(present);
    if (tokens_ < amount) return false;
    if (tokens_ == burst_) next_ = saturating_add(present, between_);
    tokens_ -= amount;
    return true;
}

/// For the first of the queue. Behind one that was withdrawn there may be enough for it by now.
void rate_limiter::arm() noexcept {
    detail::loop& here = detail::this_loop();
    if (timer_.armed()) here.disarm_timer(timer_);
    if (awaiter* first = waiters_.front())
        here.arm_timer(timer_, first->amount_ > tokens_ ? ready_at(first->amount_)
                                                        : here.turn_time);
}

/// A grant may withdraw another wait of the queue (a sibling in when_any) and so arm the timer:
/// all is settled before it.
void rate_limiter::serve() noexcept {
    for (awaiter* first = waiters_.front(); first != nullptr && take_now(first->amount_);
         first = waiters_.front()) {
        first->unlink();
        first->end_granted();
    }
    arm();
}

void rate_limiter::awaiter::cancel_wait() noexcept {
    unlink();
    end_cancelled();
    limiter_.arm();
}
void rate_limiter::awaiter::describe(detail::text_sink& out) const noexcept {
    detail::text_line<64> text;
    text.add("take ").add_number(amount_);
    text.add(" of rate_limiter");
    out.write(text.view());
}

}}  // namespace coro::v0
