// copy and proxy: all bytes of one stream into another, and both ways between two.
#pragma once

#include <cstdint>
#include <limits>

#include <coro/base/detail/export.hpp>
#include <coro/core/task.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace net {

struct copy_options {
    /// Bytes. After so many it ends as at the end of the stream; what follows stays in the stream.
    std::uint64_t at_most = std::numeric_limits<std::uint64_t>::max();
    /// A requested stop ends it as the end of the stream does, while it waits for bytes.
    bool ends_at_stop = false;
};

/// Returns `std::uint64_t`: the number of bytes that it read from `from` and wrote to `to`, which
/// is all until the end of `from`. It passes no end on: call to.shutdown_send() for that.
/// It reads nothing before what it has read is written, so a slow reader of `to` slows down the
/// writer of `from`. A copy that waits for bytes holds no buffer. 64 KiB are on the way at most.
/// `from` and `to` may be the same stream, which is an echo.
/// Requires: both streams belong to this loop and outlive the wait; no other read of `from` and no
/// other write of `to` is pending. What a buffered_stream over `from` holds is not copied.
/// Suspends until bytes come or there is room; resumes on the streams' loop.
/// Throws: io_error, as read_leased of `from` and write_all of `to`; cancelled.
/// Cancel safety: while it waits for bytes, none has been taken. Otherwise a part of those taken
/// may be lost; then `to` is marked broken, as a cut write_all marks it.
[[nodiscard("co_await it or spawn it")]] CORO_EXPORT task<std::uint64_t> copy(
    stream& from, stream& to, copy_options options = {});

/// How many bytes proxy() passed on.
struct proxied {
    std::uint64_t to_second = 0;
    std::uint64_t to_first = 0;
};

/// Returns `proxied`. Copies in both directions at once, until both have ended. The end of one
/// direction is passed on by a half-close, and the other goes on: a client that has shut down its
/// sending side still gets its answer. `options` hold for each direction alone.
/// Requires: as copy, in both directions.
/// Suspends until both directions have ended; resumes on the streams' loop.
/// Throws: the first error of a direction, which cancels the other; cancelled. Then abort() both,
/// so that no peer takes a part for the whole.
/// Cancel safety: as copy.
/// See: RFC 9293 §3.6 (half-close).
[[nodiscard("co_await it or spawn it")]] CORO_EXPORT task<proxied> proxy(
    stream& first, stream& second, copy_options options = {});

}}}  // namespace coro::v0::net
