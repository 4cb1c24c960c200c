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

/// `span` times `factor`, but `most` where that is more, or no number. A product below `most` fits.
duration times(duration span, double factor, duration most) noexcept {
    const double product = static_cast<double>(span.count()) * factor;
    return product < static_cast<double>(most.count())
               ? duration(static_cast<duration::rep>(product))
               : most;
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
    if (pause != duration::zero()) pause_ = times(pause, options_.factor, options_.longest);
    return options_.jitter > 0 ? pause - times(pause, options_.jitter * drawn(), pause) : pause;
}

}}  // namespace coro::v0
