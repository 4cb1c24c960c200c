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

    net::stream stream;
    buffered_stream in;
    buffered_writer out;
};

}}}  // namespace coro::v0::net
