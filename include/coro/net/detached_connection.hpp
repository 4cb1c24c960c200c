// detached_connection: a connection with its reader and its writer on its way to another loop.
#pragma once

#include <coro/net/connection.hpp>
#include <coro/net/detached_stream.hpp>

namespace coro { inline namespace v0 { namespace net {

/// A `connection` that belongs to no loop: taken off one, to be attached to another of the same
/// run. Its stream travels as a detached_stream, with the marks of that. The reader and the writer
/// do not travel: they hold memory of their loop. They end here, and new ones with the same limits
/// are made there. Move-only; a value that a message carries (loop_handle::post, channel, an
/// argument of spawn). Destroying it closes the connection, as for a detached_stream.
class detached_connection {
public:
    /// Takes `from` off the running loop, its own; `from` is then as one moved from, and views that
    /// its reader has returned have ended. Requires: no other reader, writer or lease of it is
    /// alive. Throws: io_error; then `from` is as before. It is errc::closed without a connection,
    /// and not_supported on a transport. It is errc::broken if the stream was_interrupted(), and
    /// errc::busy if it is not is_clean() for another reason, or an operation is pending on it.
    CORO_EXPORT explicit detached_connection(connection&& from);

    /// Whether `from` has a connection and stands on no transport. It need not be is_clean().
    [[nodiscard]] static bool can_take(const connection& from) noexcept {
        return detached_stream<stream>::can_take(from.stream);
    }

    /// Makes it a connection of the running loop. Requires: not attached before.
    /// Throws: io_error (not_enough_memory, errc::closed), std::bad_alloc; then it is closed.
    [[nodiscard]] connection attach() { return connection(stream_.attach(), options_); }

    /// Whether there is a connection (not moved from, not attached).
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(stream_); }

private:
    connection_options options_;
    detached_stream<stream> stream_;
};

}}}  // namespace coro::v0::net
