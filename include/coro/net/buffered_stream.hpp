// buffered_stream: reads exact counts, lines and records from a byte stream; cancelling loses
// nothing.
#pragma once

#include <cstddef>
#include <string_view>

#include <coro/core/task.hpp>
#include <coro/net/detail/buffered_read.hpp>
#include <coro/net/exact.hpp>

namespace coro { inline namespace v0 { namespace net {

struct buffered_stream_options {
    /// The most unread bytes that are held, and so the longest line or record.
    std::size_t limit = 64 * 1024;
};

/// Reads from the connection of a stream. The stream may be moved. No other task reads from it
/// meanwhile, because it would miss the bytes that wait here. Writing is not its business. One task
/// reads at a time: a second one meets errc::busy. Move-only; moving it while a task waits in its
/// read aborts, and views stay valid. One moved from has no connection: errc::closed.
///
/// Cancel safety of everything here: the bytes that have come stay in the buffer, and no byte is
/// lost. A read that was cancelled, or timed out, or failed can be made again, or another one
/// instead.
///
/// Memory: it holds a lease of the loop's pool while bytes of it are unread. While a record that
/// lies in several leases is unread it holds memory of its own. That is at most `limit`, and about
/// as much as has come. While it waits with nothing unread it holds neither. A view that it has
/// returned counts as unread until the next read begins; then the view ends.
///
/// When a record is longer than the limit, errc::limit_exceeded is thrown and its beginning stays
/// in the buffer: read_some() takes it, or close the stream. The same read would fail again.
class buffered_stream {
    template <typename Request>
    using reading = detail::buffered_read<Request>;

public:
    explicit buffered_stream(const stream& from, buffered_stream_options options = {}) noexcept
        : buffer_(detail::stream_access::ref(from), options.limit) {}

    /// Returns `std::size_t`: the number of bytes read, at least one and at most `into.size()`. It
    /// is 0 at end of stream, or, at once, when `into` is empty.
    /// Requires: `into` outlives the wait.
    /// Suspends only if nothing is buffered; resumes on the stream's loop.
    /// Throws: io_error (errc::busy, what the stream's reads throw); cancelled.
    /// Cancel safety: on `cancelled` no byte has been taken. See: recv(2).
    [[nodiscard("co_await it")]] reading<detail::some_request> read_some(
        mutable_bytes into) noexcept {
        return {buffer_, detail::some_request(into)};
    }

    /// Returns nothing. Fills all of `into`, at most limit() bytes, or takes nothing.
    /// Requires: `into` outlives the wait.
    /// Suspends only if fewer bytes are buffered; resumes on the stream's loop.
    /// Throws: io_error (errc::end_of_stream, whose bytes_transferred() are in the buffer;
    /// errc::limit_exceeded; errc::busy; what the stream's reads throw); cancelled.
    /// Cancel safety: on any throw no byte has been taken; make the call again to go on.
    [[nodiscard("co_await it")]] reading<detail::fill_request> read_exact(
        mutable_bytes into) noexcept {
        return {buffer_, detail::fill_request(into)};
    }
    /// Returns `coro::const_bytes`: the next `count` bytes, at most limit(), not copied out: the
    /// view is valid until the next read. Otherwise as the other one.
    [[nodiscard("co_await it")]] reading<detail::view_request> read_exact(
        std::size_t count) noexcept {
        return {buffer_, detail::view_request(count)};
    }

    /// Returns `std::string_view`: everything up to and including the next `delimiter`; the view is
    /// valid until the next read.
    /// Requires: `delimiter` is not empty (aborts) and outlives the wait.
    /// Suspends only if no delimiter is buffered; resumes on the stream's loop.
    /// Throws: io_error (errc::limit_exceeded: limit() bytes are buffered, and no delimiter;
    /// errc::end_of_stream, whose bytes_transferred() are in the buffer; errc::busy; what the
    /// stream's reads throw); cancelled. Cancel safety: on any throw no byte has been taken.
    [[nodiscard("co_await it")]] reading<detail::until_request> read_until(
        std::string_view delimiter) noexcept {
        return {buffer_, detail::until_request(delimiter)};
    }

    /// Returns `std::optional<std::string_view>`: the next line without its LF or CR LF; the view
    /// is valid until the next read. The bytes after the last LF are a line too, unless there are
    /// none. Empty at end of stream.
    /// Suspends only if no line end is buffered; resumes on the stream's loop.
    /// Throws: io_error (errc::limit_exceeded: limit() bytes are buffered, and no line end;
    /// errc::busy; what the stream's reads throw); cancelled.
    /// Cancel safety: on any throw no byte has been taken.
    [[nodiscard("co_await it")]] reading<detail::line_request> read_line() noexcept {
        return {buffer_, detail::line_request()};
    }

    /// Returns `coro::const_bytes`: the next `count` bytes, at most limit(), and takes none of
    /// them. They are fewer only if the stream ends before: `(co_await in.peek(1)).empty()` asks
    /// for the end. Valid until the next read.
    /// Suspends only if fewer bytes are buffered; resumes on the stream's loop.
    /// Throws: io_error (errc::limit_exceeded, errc::busy, what the stream's reads throw);
    /// cancelled.
    /// Cancel safety: it never takes a byte.
    [[nodiscard("co_await it")]] reading<detail::peek_request> peek(
        std::size_t count) noexcept {
        return {buffer_, detail::peek_request(count)};
    }

    /// Unread bytes that a read would find without suspending.
    [[nodiscard]] std::size_t buffered() const noexcept { return buffer_.size(); }
    [[nodiscard]] std::size_t limit() const noexcept { return buffer_.limit(); }

private:
    friend struct detail::buffered_stream_access;

    detail::read_buffer buffer_;
};

}}}  // namespace coro::v0::net

#include <coro/net/detail/buffered_stream_access.hpp>
