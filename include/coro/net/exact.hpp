// write_all and read_exact: exact transfers on any stream.
#pragma once

#include <cstddef>

#include <coro/core/task.hpp>
#include <coro/net/detail/stream_access.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace net {

/// Returns nothing. Writes all of `from`.
/// Requires: `from` outlives the wait; no other write is pending on `stream`.
/// Suspends until the kernel has taken everything; resumes on the stream's loop.
/// Throws: io_error (broken_pipe, connection_reset, timed_out, errc::busy, errc::closed,
/// errc::broken); cancelled. bytes_transferred() of either says how many bytes had moved.
/// Cancel safety: none: when it throws, a part may have been sent; the stream is then marked
/// broken, and later exact transfers throw errc::broken. See: send(2).
[[nodiscard("co_await it")]] inline detail::send_exactly_awaiter write_all(
    net::stream& stream, const_bytes from) noexcept {
    return {detail::stream_access::ref(stream), const_cast<std::byte*>(from.data()),
            from.size()};
}

/// Returns nothing. Fills all of `into`.
/// Requires: `into` outlives the wait; no other read is pending on `stream`.
/// Suspends until everything has come; resumes on the stream's loop.
/// Throws: io_error (errc::end_of_stream if the peer ended the stream first, connection_reset,
/// timed_out, errc::busy, errc::closed, errc::broken), with bytes_transferred(); cancelled,
/// likewise.
/// Cancel safety: none on a bare stream, as write_all; buffered_stream::read_exact has it.
[[nodiscard("co_await it")]] inline detail::receive_exactly_awaiter read_exact(
    net::stream& stream, mutable_bytes into) noexcept {
    return {detail::stream_access::ref(stream), into.data(), into.size()};
}

}}}  // namespace coro::v0::net
