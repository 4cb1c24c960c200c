// memory_stream: two streams that are connected to each other in memory, without a socket.
#pragma once

#include <cstddef>
#include <limits>
#include <memory>
#include <utility>

#include <coro/base/detail/export.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace net {

struct memory_options {
    /// Bytes that one direction holds while nobody reads; then writers wait. At least 1.
    std::size_t capacity = 64 * 1024;
    /// The most that one read or one write moves. With 1 each byte comes alone: a network may do
    /// so, and seldom does in a test. At least 1.
    std::size_t chunk = std::numeric_limits<std::size_t>::max();
};

/// One end of a connection in memory, for tests and for the parts of one program. As with TCP there
/// are half-close, the end of the stream, and broken_pipe when the peer is gone. Closing it with
/// unread input is no reset.
/// abort() throws away what the peer has not read; the peer meets connection_reset. It holds both
/// buffers as long as one of the ends lives. Both ends belong to the loop on which they were made.
class memory_stream : public stream {
public:
    /// A stream without a connection: every operation on it is errc::closed.
    memory_stream() noexcept = default;

    /// Two ends of one connection. Requires: called inside of run(). Throws: std::bad_alloc.
    [[nodiscard]] CORO_EXPORT static std::pair<memory_stream, memory_stream> pair(
        const memory_options& options = {});

private:
    explicit memory_stream(std::unique_ptr<transport> of);
};

}}}  // namespace coro::v0::net
