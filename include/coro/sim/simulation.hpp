// The options of a simulated run: run_options::simulation. They count where run_options::poller, or
// CORO_POLLER, says "simulation", and nowhere else.
//
//     coro::run(client_and_server(), {.poller = coro::poller_choice::simulation,
//                                     .loops = 3,
//                                     .simulation = {.latency = 5ms, .latency_most = 80ms},
//                                     .seed = 7});
#pragma once

#include <cstddef>
#include <cstdint>

#include <coro/base/time.hpp>

namespace coro { inline namespace v0 { namespace sim {

/// The network of a simulated run, the same for all of its loops. An aggregate that owns nothing.
struct options {
    /// Bytes, messages, the end of a stream, a reset and either half of a connect cross the
    /// network. Each takes at least `latency`, one way, and at most `latency_most`. The seed
    /// chooses in between, for each crossing; what one side sent stays in order. Without a seed all
    /// take `latency`.
    time_span latency = duration::zero();
    /// Means `latency` where it is less than that.
    time_span latency_most = duration::zero();
    /// A read or a write moves no more bytes at once. With a seed it moves any number up to this. A
    /// message (a datagram) is never cut.
    /// Requires: at least 1.
    std::size_t chunk_most = SIZE_MAX;
    /// So many sockets may be open at once. The next accept or connect is refused as by a process
    /// that has no descriptor left.
    std::size_t sockets = SIZE_MAX;
};

}}}  // namespace coro::v0::sim
