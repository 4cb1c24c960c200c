// detached_stream: a connection on its way from one loop of a run to another.
#pragma once

#include <concepts>
#include <utility>

#include <coro/net/detail/detached_socket.hpp>
#include <coro/net/detail/stream_access.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace net {

class tcp_stream;
class local_stream;

/// Streams that can move between loops: `stream`, `tcp_stream` and `local_stream`. A class derived
/// from one of them cannot: what it adds to the stream would be lost on the way.
template <typename Stream>
concept detachable = std::same_as<Stream, stream> || std::same_as<Stream, tcp_stream> ||
                     std::same_as<Stream, local_stream>;

/// A stream that belongs to no loop: taken off one, to be attached to another of the same run.
/// Move-only; a value that a message carries (loop_handle::post, channel, an argument of spawn).
/// Its marks (is_broken, was_interrupted), its idle span and reset_on_failure() go with it. If the
/// other loop fetches the stream itself, rebind() of tcp_stream and local_stream is shorter.
/// Destroying it closes the connection, on a loop of the run. As for a stream, that is a reset if
/// an exception destroys it and reset_on_failure() was said.
template <detachable Stream>
class detached_stream {
public:
    /// Takes `from` off the running loop, its own; `from` is then a stream without a connection.
    /// Requires: no lease, buffered_stream or buffered_writer of it is alive.
    /// Throws: io_error (errc::busy while an operation is pending on it; errc::closed;
    /// not_supported for a stream on a transport). Then `from` is as before.
    explicit detached_stream(Stream&& from) : socket_(detail::stream_access::owner(from)) {}

    /// Whether `from` has a connection and stands on no transport. One that is busy stays, too.
    [[nodiscard]] static bool can_take(const Stream& from) noexcept {
        const detail::handle handle = detail::stream_access::ref(from).handle;
        return handle && !handle.is_transport();
    }

    /// Makes it a stream of the running loop. Requires: not attached before.
    /// Throws: io_error (not_enough_memory, errc::closed); then the connection is closed.
    [[nodiscard]] Stream attach() {
        return detail::stream_access::make<Stream>(socket_.attach());
    }

    /// Whether there is a connection (not moved from, not attached).
    [[nodiscard]] explicit operator bool() const noexcept { return socket_.holds(); }

private:
    detail::detached_socket socket_;
};

}}}  // namespace coro::v0::net
