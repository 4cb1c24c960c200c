// The members of a stream that are for the library, not for users.
#pragma once

#include <utility>

#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace detail {

struct stream_access {
    /// Of a stream or a listener.
    template <typename Owner>
    static const socket_ref& ref(const Owner& of) noexcept {
        return of.socket_.ref();
    }
    static owned_socket& owner(net::stream& of) noexcept { return of.socket_; }
    template <typename Stream>
    static Stream make(socket_ref from) noexcept {
        return Stream(from);
    }
};

}}}  // namespace coro::v0::detail
