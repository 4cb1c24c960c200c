// buffered_writer: collects small writes of one turn into one send, bounded, with explicit flush.
#pragma once

#include <cstddef>

#include <coro/core/task.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/detail/buffered_write.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace net {

struct buffered_writer_options {
    /// The most unsent bytes that are held. A write that is as large is sent from where it lies.
    std::size_t limit = 64 * 1024;
};

/// Writes to the connection of `stream` through a buffer. All that is written leaves at the end of
/// the loop's turn, in one send, without a flush: sixteen small replies cost one system call. At
/// most one send is in flight. Several tasks may write at once: each write stays in one piece, in
/// the order in which the writes were made. An empty writer holds no buffer.
///
/// Errors of sending come out of the next write or flush, and of every one after it: the buffered
/// bytes are gone. Only errc::busy (somebody else was writing to the stream itself) is told once
/// and keeps the bytes: flush again.
///
/// Move-only; tasks that wait in it go on. One moved from aborts when it is used.
///
/// `stream` may be moved, but not closed, while there are unsent bytes. Before you close it,
/// half-close it or destroy the writer: co_await flush(). A writer that is destroyed with unsent
/// bytes tells the report hook how many, unless the connection had failed. A send in flight goes on
/// without it.
class buffered_writer {
public:
    CORO_EXPORT explicit buffered_writer(const net::stream& stream,
                                         buffered_writer_options options = {});

    /// Returns nothing. Copies `from` into the buffer, whole. When it is as large as the limit or
    /// larger it is sent from where it lies, after everything that is buffered.
    /// Requires: `from` outlives the wait; the writer too.
    /// Suspends only while the buffer has no room for it, or until a large one has been sent;
    /// resumes on the stream's loop.
    /// Throws: io_error (broken_pipe, connection_reset, timed_out, errc::busy, errc::closed,
    /// errc::broken); cancelled.
    /// Cancel safety: on `cancelled` nothing of `from` was written, if it is smaller than the
    /// limit. If a part of a large one had been sent, cancelled::bytes_transferred() says how
    /// much, and later writes throw errc::broken. See: send(2).
    [[nodiscard("co_await it")]] detail::buffered_write write(
        const_bytes from) noexcept {
        return {state(), detail::write_request{.payload = from}};
    }

    /// Returns nothing. Begins to send at once, and waits until the kernel has taken everything
    /// that was written before.
    /// Suspends while the kernel's send buffer is full; resumes on the stream's loop.
    /// Throws: io_error, as write(); cancelled.
    /// Cancel safety: on `cancelled` nothing is lost: the bytes stay queued and are sent.
    [[nodiscard("co_await it")]] detail::flush_awaiter flush() noexcept {
        return detail::flush_awaiter(state());
    }

    /// Bytes that were written and that the kernel has not taken.
    [[nodiscard]] CORO_EXPORT std::size_t unsent() const noexcept;
    /// The limit of its options; 0 of one moved from.
    [[nodiscard]] CORO_EXPORT std::size_t limit() const noexcept;

private:
    friend struct detail::buffered_writer_access;

    /// Nothing is unsent, no task waits in it, and no send has failed.
    [[nodiscard]] CORO_EXPORT bool is_idle() const noexcept;

    detail::writer_state& state() const noexcept {
        CORO_ASSERT(state_ != nullptr, "a buffered_writer was used that was moved from");
        return *state_;
    }

    detail::writer_handle state_;
};

}}}  // namespace coro::v0::net

#include <coro/net/detail/buffered_writer_access.hpp>
