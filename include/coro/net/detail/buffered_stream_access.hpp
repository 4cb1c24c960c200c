// For code that reads by requests of its own.
#pragma once

#include <coro/net/buffered_stream.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// For what reads by requests of its own, and for the owner of a reader.
struct buffered_stream_access {
    template <typename Request>
    static buffered_read<Request> read(net::buffered_stream& from, Request request) noexcept {
        return {from.buffer_, request};
    }
    static bool is_idle(const net::buffered_stream& of) noexcept { return of.buffer_.is_idle(); }
};

}}}  // namespace coro::v0::detail
