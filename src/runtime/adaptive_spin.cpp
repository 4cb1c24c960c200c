// The rules of adaptive_spin.hpp, by their numbers.
#include "runtime/adaptive_spin.hpp"

#include <algorithm>

namespace coro { inline namespace v0 { namespace detail {

duration adaptive_spin::spin_for(time_point now) noexcept {
    silent_since_ = now;
    missed_ = false;
    looked_at_ = {};
    spun_ = room_ && last_silence_short_ && span_ > duration::zero() && now >= resting_until_;
    if (!spun_) return duration::zero();
    spun_since_sample_ = true;
    return span_;
}

void adaptive_spin::looked(time_point now) noexcept {
    // The first one has no begin: the clock of the turn is older than the turn's work.
    if (looked_at_ != time_point{} && now - looked_at_ >= long_look) ++long_looks_;
    looked_at_ = now;
}

void adaptive_spin::missed() noexcept {
    if (!spun_ || missed_) return;
    missed_ = true;
    span_ /= 2;  // rule 2
    if (span_ < shortest_span) span_ = duration::zero();
}

void adaptive_spin::silence_ended(time_point now) noexcept {
    last_silence_short_ = now - silent_since_ < window_;  // rule 1
    if (spun_ && !missed_) {
        span_ = std::min(span_ * 2, window_);  // rule 2
        ++finds_;
    } else if (last_silence_short_ && span_ == duration::zero()) {
        span_ = window_;  // rule 3
    }
}

bool adaptive_spin::wants_sample(time_point now) const noexcept {
    return spun_since_sample_ && (!sampled_ || now - sampled_at_ >= sample_interval);
}

void adaptive_spin::sample(time_point now, std::uint64_t involuntary_switches) noexcept {
    // A rise over a longer time says nothing about the present. The limit is on one interval, and a
    // sample after a pause only begins the next comparison.
    const bool comparable = sampled_ && now - sampled_at_ < 2 * sample_interval;
    const std::uint64_t tolerated = tolerated_switches + finds_ / finds_per_switch;
    if (comparable && (involuntary_switches > switches_ + tolerated ||
                       long_looks_ > tolerated_switches)) {
        resting_until_ = saturating_add(now, rest);  // rule 5
    }
    finds_ = 0;
    long_looks_ = 0;
    sampled_ = true;
    sampled_at_ = now;
    switches_ = involuntary_switches;
    spun_since_sample_ = false;
}

}}}  // namespace coro::v0::detail
