// stream: a connection of any kind that carries bytes, and the operations on it.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <coro/base/time.hpp>
#include <coro/core/task.hpp>
#include <coro/net/detail/stream_awaiters.hpp>
#include <coro/net/read_lease.hpp>

namespace coro { inline namespace v0 { namespace detail {
struct stream_access;
}}}

namespace coro { inline namespace v0 { namespace net {
class transport;
}}}

namespace coro { inline namespace v0 { namespace net {

/// A connection that carries bytes: TCP, a Unix socket, or what a transport makes. A class derived
/// from it adds ways to make one, and nothing to read or write; its objects may be moved into a
/// stream. Move-only. One task may read while another writes; two readers (or two writers) at once
/// are errc::busy. Destroying it closes it at once, without blocking. Waits of other tasks on it
/// end with errc::closed, and the kernel still sends bytes that were written. Belongs to the loop
/// on which it was made; closing works on every loop of a run. Errors name the verb and describe().
class stream {
public:
    /// A stream without a connection: every operation on it is errc::closed.
    stream() noexcept = default;
    /// Stands on `of`, which it owns. Requires: called inside of run(). Throws: std::bad_alloc.
    CORO_EXPORT explicit stream(std::unique_ptr<transport> of);

    /// Returns `std::size_t`: the number of bytes read, at least one and at most `into.size()`. It
    /// is 0 at end of stream, or, at once, when `into` is empty. A read or write moves at most 256
    /// KiB, so that the other tasks of the loop have their turns.
    /// Requires: `into` outlives the wait; no other read is pending on this stream.
    /// Suspends until data, EOF, error or cancellation; resumes on the stream's loop.
    /// Throws: io_error (connection_reset, timed_out, errc::busy, errc::closed); cancelled.
    /// Cancel safety: on `cancelled` no byte has been taken from the stream.
    /// See: recv(2); RFC 9293 §3.10.
    [[nodiscard("co_await it")]] detail::read_awaiter read_some(
        mutable_bytes into) noexcept {
        return {socket_.ref(), into};
    }
    /// Returns `std::size_t`: the same into several buffers, filled in order; the first most_slices
    /// of them.
    /// See: readv(2).
    [[nodiscard("co_await it")]] detail::vectored_awaiter read_some(
        std::span<const mutable_bytes> into) noexcept {
        return {detail::opcode::receive_vectored, socket_.ref(), into};
    }
    /// Returns `read_lease`: at least one byte, at most `at_most`. The loop's pool lends the buffer
    /// only when bytes have come: an idle connection holds none. The lease is empty at end of
    /// stream. When the pool is exhausted the buffer is allocated, up to a cap, then
    /// errc::limit_exceeded. Otherwise as read_some.
    [[nodiscard("co_await it")]] detail::lease_awaiter read_leased(
        std::size_t at_most = static_cast<std::size_t>(-1)) noexcept {
        return {socket_.ref(), at_most};
    }

    /// Returns `std::size_t`: how many bytes of `from` were written, at least one, at most 256 KiB;
    /// 0, at once, when `from` is empty. Most callers want write_all.
    /// Requires: `from` outlives the wait; no other write is pending on this stream.
    /// Suspends while the kernel's send buffer is full; resumes on the stream's loop.
    /// Throws: io_error (broken_pipe, connection_reset, timed_out, errc::busy, errc::closed);
    /// cancelled. Never raises SIGPIPE. Cancel safety: on `cancelled` no byte has been sent.
    /// See: send(2).
    [[nodiscard("co_await it")]] detail::write_awaiter write_some(
        const_bytes from) noexcept {
        return {socket_.ref(), from};
    }
    /// Returns `std::size_t`: the same from several buffers, in order; the first most_slices of
    /// them. See: writev(2).
    [[nodiscard("co_await it")]] detail::vectored_awaiter write_some(
        std::span<const const_bytes> from) noexcept {
        return {detail::opcode::send_vectored, socket_.ref(), from};
    }

    /// Ends the sending direction (half-close): the peer reads the end of the stream after what was
    /// written; reading goes on. Does not block. Throws: io_error (not_connected, errc::closed).
    /// See: shutdown(2).
    CORO_EXPORT void shutdown_send();

    /// Returns nothing. Half-closes, reads and drops what the peer still sends until it closes too,
    /// and closes. So the peer gets everything that was written even if it was still sending. A
    /// plain close() with unread input makes the kernel send a reset, which destroys data on its
    /// way.
    /// Suspends for at most `limit`; then, or on any error, closes at once.
    /// Throws: cancelled (closed all the same). See: RFC 9293 §3.6; RFC 2525 §2.17.
    [[nodiscard("co_await it or spawn it")]] CORO_EXPORT task<> close_gracefully(
        time_span limit = std::chrono::seconds(30));

    /// Closes at once; idempotent. Pending operations end with errc::closed.
    void close() noexcept { socket_.close(); }

    /// Closes at once by a reset. Unsent bytes are thrown away, and the peer meets
    /// connection_reset: it cannot take that for a clean end. For what went wrong in the midst of a
    /// message. Idempotent; does not block. Pending operations end with errc::closed. A Unix socket
    /// has no reset: its peer meets connection_reset if it had sent what was not read here, else
    /// the end of the stream.
    /// See: RFC 9293 §3.10.5; socket(7) SO_LINGER.
    void abort() noexcept { socket_.abort(); }

    /// Says that it ends by a reset, as by abort(), if an exception destroys it. So the peer does
    /// not take a part for the whole. close() is in order all the same. If its task is
    /// cancelled because a stop is over, it ends in order too, unless an exact write was cut
    /// (group_options::cancel_ends_stop, until_stop). serve says it of what it accepts.
    CORO_EXPORT void reset_on_failure(bool on = true) noexcept;

    /// Whether there is a socket (not default-made, moved from or closed here).
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
    /// An exact transfer was cut short on it: framing is lost, later ones of that direction throw
    /// errc::broken.
    [[nodiscard]] bool is_broken() const noexcept {
        return detail::is_broken(socket_.ref(), detail::direction::either);
    }
    /// Whether a read, write or exact transfer of this connection has ended with `cancelled`: by a
    /// scope, by a deadline, or by a stop (an empty until_stop too). Reads, writes and flushes of a
    /// buffered_stream, buffered_writer or framed_stream over it count, and so does one that was
    /// cancelled before it asked for anything. Also true when is_broken(). The mark stays, and
    /// moves with the connection. Only a wait that is cancelled pays for it.
    /// A request may have been sent whose reply is still to come. Somebody else who got this
    /// connection would take that for the reply to his own: close it, and do not lend it again.
    [[nodiscard]] bool was_interrupted() const noexcept {
        return detail::was_interrupted(socket_.ref());
    }

    /// Whether a read would not wait now. Bytes have come that nobody has read, or the end of the
    /// stream, or an error; or a read is pending, so that a second one is errc::busy; or there is
    /// no connection. Reads nothing, and never waits. In a system call for a socket; where that
    /// fails, true. A connection between two requests has no input: bytes are the rest of an
    /// answer that nobody has taken, and an end is a peer that has gone. Bytes in a buffered_stream
    /// do not count here, nor those that are still on their way. See: poll(2).
    [[nodiscard]] CORO_EXPORT bool has_input() const noexcept;

    /// Kind and peer, as errors name them: an address, or what the transport says of itself. Empty
    /// for a stream that is closed.
    [[nodiscard]] CORO_EXPORT std::string describe() const;
    /// Bytes that have moved so far, in both directions together: two looks differ when a byte has
    /// moved between them. For TCP the kernel counts, in a system call. 0 for a closed stream.
    [[nodiscard]] CORO_EXPORT std::uint64_t activity() const noexcept;

private:
    friend struct detail::stream_access;

protected:
    explicit stream(detail::socket_ref from) noexcept : socket_(from) {}

    detail::owned_socket socket_;
};

}}}  // namespace coro::v0::net
