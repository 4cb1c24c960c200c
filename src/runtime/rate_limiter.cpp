// The bucket is one time: when it will be full again. Each token that is taken moves it on by the
// time between two. An amount is there while what lacks leaves room for it.
#include <coro/runtime/rate_limiter.hpp>

#include <algorithm>

#include <coro/runtime/detail/this_strand.hpp>

#include "base/text_line.hpp"

namespace coro { inline namespace v0 {
namespace {

/// Longer than that no program runs; so no product below overflows a time.
constexpr duration longest = std::chrono::hours(24 * 365 * 100);

duration times(duration span, std::size_t count) noexcept {
    duration::rep product = 0;
    if (__builtin_mul_overflow(span.count(), count, &product)) return longest;
    return std::min(duration(product), longest);
}

}  // namespace

rate_limiter::rate_limiter(const rate_limit& limit) noexcept
    : between_(limit.tokens == 0
                   ? duration::zero()
                   : limit.per / static_cast<duration::rep>(limit.tokens)),
      burst_(limit.burst),
      timer_(*this) {
    CORO_ASSERT(between_ > duration::zero() && burst_ > 0,
                "a rate_limiter needs tokens, a burst, and a nanosecond between two tokens");
}

time_point rate_limiter::ready_at(std::size_t amount) const noexcept {
    return full_at_ - times(between_, burst_ - amount);
}

bool rate_limiter::take_now(std::size_t amount) noexcept {
    const time_point present = detail::this_loop().turn_time;
    full_at_ = std::max(full_at_, present);
    if (ready_at(amount) > present) return false;
    full_at_ = saturating_add(full_at_, times(between_, amount));
    return true;
}

/// For the first of the queue.
void rate_limiter::arm() noexcept {
    detail::loop& here = detail::this_loop();
    if (timer_.armed()) here.disarm_timer(timer_);
    if (awaiter* first = waiters_.front()) here.arm_timer(timer_, ready_at(first->amount_));
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
