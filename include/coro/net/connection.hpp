// connection: a stream with its reader and its writer, in one object that moves.
#pragma once

#include <utility>

#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace net {

struct connection_options {
    buffered_stream_options in{};   ///< of the reader
    buffered_writer_options out{};  ///< of the writer
};

/// Owns a stream, reads from it by `in` and writes to it by `out`. Move-only: it may be kept in a
/// container, lent and given back. Requires: moved only while no task waits in a read of it
/// (aborts); a flush() that a task waits in goes on. Destroying it closes the stream; before that,
/// co_await out.flush().
class connection {
public:
    /// Throws: std::bad_alloc.
    explicit connection(net::stream of, const connection_options& options = {})
        : stream(std::move(of)), in(stream, options.in), out(stream, options.out) {}
    connection(connection&&) noexcept = default;
    connection& operator=(connection&& other) noexcept {
        // The old writer tells what it had not sent before its stream is closed.
        out = std::move(other.out);
        in = std::move(other.in);
        stream = std::move(other.stream);
        return *this;
    }
    ~connection() = default;

    /// Whether nothing is left over from what was done with it. It has a connection, of which no
    /// read or write was_interrupted() and none is_broken(). `in` holds no unread byte, has not met
    /// the end, and no task waits in it. `out` has sent all, and has not failed. It looks at this
    /// side alone: ask stream.has_input() too, which is a system call, before somebody else gets
    /// the connection. No one can see that a reply is still to come which nobody has begun to read.
    [[nodiscard]] bool is_clean() const noexcept {
        return stream && !stream.was_interrupted() &&
               detail::buffered_stream_access::is_idle(in) &&
               detail::buffered_writer_access::is_idle(out);
    }

    net::stream stream;
    buffered_stream in;
    buffered_writer out;
};

}}}  // namespace coro::v0::net
