// stream_conformance: does a stream keep the promises of net::stream? For tests of your own
// transports, in any test framework.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <coro/base/detail/export.hpp>
#include <coro/core/task.hpp>
#include <coro/net/stream.hpp>
#include <coro/runtime/run.hpp>

namespace coro { inline namespace v0 { namespace testing {

/// Makes two streams that are connected to each other. It is called anew for each case, inside of
/// run(), and may be called many times.
using stream_factory = std::function<task<std::pair<net::stream, net::stream>>()>;

/// Features that streams of a kind may lack.
struct stream_kind {
    /// Whether the peer of abort() meets connection_reset. Unix sockets cannot tell it: their peer
    /// may read the end of the stream.
    bool can_reset = true;
};

/// Runs every case on pairs that `make` makes, in the world that `options` ask for. Returns a
/// sentence for each broken promise: none, and the streams conform. Each case runs with the two
/// ends as they were made, and exchanged. It takes a second or two in real time.
///
/// The cases: order and completeness of what is sent, in short transfers, in both directions at
/// once; vectored and leased forms; transfers of no byte; half-close and the end of the stream;
/// closing, also under a task that waits; a reset, also by a failure; a second reader or writer;
/// cancelling at any moment of any read and write; exact transfers that were cut short; more than 4
/// GiB in one call (the memory is mapped, not filled); buffered and framed use, also cancelled;
/// errors that name verb and peer.
/// After each case no operation, lease or stream may be left.
///
/// Requires: called outside of run(); a connection holds 64 bytes while nobody reads them.
/// Throws: what `make` throws, and std::bad_alloc.
[[nodiscard]] CORO_EXPORT std::vector<std::string> check_streams(const stream_factory& make,
                                                                 run_options options = {},
                                                                 stream_kind kind = {});

}}}  // namespace coro::v0::testing
