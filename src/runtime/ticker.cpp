#include <coro/runtime/ticker.hpp>

#include <coro/base/detail/assert.hpp>
#include <coro/runtime/sleep.hpp>

namespace coro { inline namespace v0 {

ticker::ticker(time_span period, missed_ticks policy)
    : period_(period), due_(now() + period), policy_(policy) {
    CORO_ASSERT(period > duration::zero(), "a ticker needs a period above 0");
}

task<std::uint64_t> ticker::next() {
    co_await sleep_until(due_);
    const time_point present = now();
    std::uint64_t ticks = 1;
    switch (policy_) {
        case missed_ticks::skip: {
            const duration late = present - due_;
            ticks += static_cast<std::uint64_t>(late / period_);
            due_ = present + (period_ - late % period_);
            break;
        }
        case missed_ticks::burst: due_ = due_ + period_; break;
        case missed_ticks::delay:
            due_ = (present - due_ < period_ ? due_ : present) + period_;
            break;
    }
    co_return ticks;
}

}}  // namespace coro::v0
