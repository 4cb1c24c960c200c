// A connection leaves its loop: what may go, and what ends with the old loop.
#include <coro/net/detached_connection.hpp>

#include <array>
#include <utility>

#include "net/io_failure.hpp"

namespace coro { inline namespace v0 { namespace net {
namespace {

/// The stream of `from`, if nothing would be lost. It says itself that there is no connection, or
/// that it stands on a transport.
stream&& whole_stream(connection& from) {
    if (from.is_clean() || !detached_connection::can_take(from)) return std::move(from.stream);
    std::array<char, detail::name_capacity> buffer;
    const auto peer = detail::peer_text(detail::stream_access::ref(from.stream), buffer);
    if (from.stream.was_interrupted())
        throw io_error(errc::broken, "detach", peer,
                       detail::error_text("a read or write of it was cut or cancelled"));
    throw io_error(errc::busy, "detach", peer,
                   detail::error_text("it is not is_clean(): something is unread, unsent or "
                                      "awaited, its end was read, or a send failed"));
}

}  // namespace

detached_connection::detached_connection(connection&& from)
    : options_{.in = {.limit = from.in.limit()}, .out = {.limit = from.out.limit()}},
      stream_(whole_stream(from)) {
    const buffered_stream reader = std::move(from.in);
    const buffered_writer writer = std::move(from.out);
}

}}}  // namespace coro::v0::net
