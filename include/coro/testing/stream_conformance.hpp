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
/// The cases send in short transfers and in both directions at once, and check order and
/// completeness. They use vectored and leased forms, buffered and framed ones, and transfers of no
/// byte. They half-close, read to the end of the stream, close (also under a task that waits), and
/// reset (also by a failure). They let a second task read or write. They cancel at any moment of
/// any read and write, buffered and framed ones too, and cut exact transfers short. They move more
/// than 4 GiB in one call (the memory is mapped, not filled). Errors must name verb and peer. After
/// each case no operation, lease or stream may be left.
///
/// Requires: called outside of run(); a connection holds 64 bytes while nobody reads them.
/// Throws: what `make` throws, and std::bad_alloc.
[[nodiscard]] CORO_EXPORT std::vector<std::string> check_streams(const stream_factory& make,
                                                                 run_options options = {},
                                                                 stream_kind kind = {});

}}}  // namespace coro::v0::testing
