#include <coro/runtime/retry.hpp>

#include <algorithm>
#include <cstdint>

#include <coro/runtime/detail/this_strand.hpp>

#include "runtime/loop_team.hpp"
#include "runtime/world.hpp"

namespace coro { inline namespace v0 {
namespace {

/// Above 0, at most 1.
double drawn() noexcept {
    std::uint64_t bits = 0;
    detail::this_loop().team->world().random(&bits, sizeof bits);
    return static_cast<double>((bits >> 11) + 1) / 9007199254740992.0;
}

duration part_of(duration span, double part) noexcept {
    return duration(static_cast<duration::rep>(static_cast<double>(span.count()) * part));
}

}  // namespace

backoff::backoff(const backoff_options& options) noexcept
    : options_(options), pause_(options.first) {
    CORO_ASSERT(options.factor >= 1 && options.jitter >= 0 && options.jitter <= 1 &&
                    options.first >= duration::zero() && options.longest >= duration::zero(),
                "a backoff needs a factor of 1 at least, a jitter of 0 to 1, and no span below 0");
}

duration backoff::next() noexcept {
    const duration pause = std::min<duration>(pause_, options_.longest);
    // Beyond the longest one nothing grows, so that no product overflows.
    const bool is_last_step = pause > part_of(options_.longest, 1 / options_.factor);
    pause_ = is_last_step ? duration(options_.longest) : part_of(pause, options_.factor);
    return options_.jitter > 0 ? pause - part_of(pause, options_.jitter * drawn()) : pause;
}

}}  // namespace coro::v0
