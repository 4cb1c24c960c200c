// framed_stream: messages with a length in front, over a buffered_stream and a buffered_writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>

#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/connection.hpp>
#include <coro/net/detail/frame_request.hpp>

namespace coro { inline namespace v0 { namespace net {

struct frame_options {
    /// The longest payload, in either direction. At most 2^32 - 1.
    std::size_t limit = 1024 * 1024;
};

/// Messages over a stream of bytes: each is its length in 4 bytes, the most significant first, then
/// that many bytes. A payload may be empty. One task may read while others write. Move-only, as a
/// connection is.
///
/// It owns its connection, or refers to a reader and a writer, which outlive it. Both may be used
/// directly between two messages: in(), out().
///
/// A frame may be longer than the limit of the reader, up to options.limit. The reader holds it all
/// the same, in memory that grows with what has come, not with what was announced.
class framed_stream {
public:
    /// Owns `over`: `framed_stream messages(connection(std::move(peer)))`.
    explicit framed_stream(connection over, frame_options options = {}) noexcept
        : limit_(checked(options.limit)), owned_(std::move(over)) {}
    /// Owns a connection over `over`. Throws: std::bad_alloc.
    explicit framed_stream(stream over, frame_options options = {})
        : framed_stream(connection(std::move(over)), options) {}
    /// Refers to them.
    framed_stream(buffered_stream& in, buffered_writer& out, frame_options options = {}) noexcept
        : limit_(checked(options.limit)), in_(&in), out_(&out) {}

    [[nodiscard]] buffered_stream& in() noexcept { return owned_ ? owned_->in : *in_; }
    [[nodiscard]] buffered_writer& out() noexcept { return owned_ ? owned_->out : *out_; }
    /// Closes the connection that it owns; one to which it refers is closed by its stream.
    void close() noexcept {
        if (owned_) owned_->stream.close();
    }

    /// Returns `std::optional<coro::const_bytes>`: the payload of the next frame, valid until the
    /// next read. Empty optional at end of stream between two frames.
    /// Suspends only if the frame is not buffered; resumes on the stream's loop.
    /// Throws: cancelled; io_error (errc::busy, what the stream's reads throw). It is
    /// errc::limit_exceeded if a length above the limit was announced. That length stays in the
    /// buffer: close the stream. It is errc::end_of_stream inside of a frame; its
    /// bytes_transferred() are in the buffer.
    /// Cancel safety: on any throw no byte has been taken; call again to go on.
    [[nodiscard("co_await it")]] auto read() noexcept {
        return detail::buffered_stream_access::read(in(), detail::frame_request(limit_));
    }

    /// Returns nothing. Writes `payload` as one frame, which leaves at the end of the turn (see
    /// buffered_writer).
    /// Requires: `payload` outlives the wait.
    /// Suspends only while the buffer has no room, or until a frame as large as the writer's limit
    /// has been sent. It resumes on the stream's loop.
    /// Throws: io_error (errc::limit_exceeded: nothing was written; what buffered_writer::write
    /// throws); cancelled.
    /// Cancel safety: on `cancelled` nothing was written. A frame as large as the writer's limit
    /// may have left in part. Then every later write throws errc::broken, so that no frame follows
    /// a part.
    [[nodiscard("co_await it")]] detail::buffered_write write(
        const_bytes payload) noexcept {
        return detail::buffered_writer_access::write(out(),
                                                     detail::frame_to_write(payload, limit_));
    }

    /// Returns nothing, once everything written was handed to the kernel: buffered_writer::flush.
    [[nodiscard("co_await it")]] detail::flush_awaiter flush() noexcept {
        return out().flush();
    }

private:
    static std::size_t checked(std::size_t limit) noexcept {
        CORO_ASSERT(limit <= std::numeric_limits<std::uint32_t>::max(),
                    "the limit of frames does not fit their 4-byte length");
        return limit;
    }

    std::size_t limit_;
    std::optional<connection> owned_;
    buffered_stream* in_ = nullptr;  ///< these two if it owns none
    buffered_writer* out_ = nullptr;
};

}}}  // namespace coro::v0::net
