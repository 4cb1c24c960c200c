// Descriptors that become streams, and streams that become descriptors again.
#pragma once

#include <coro/net/detail/socket.hpp>

#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// A connected stream socket of `family` (ipv4 stands for both of IP) as a socket of this loop.
/// Throws: io_error; then the descriptor stays the caller's.
[[nodiscard]] socket_ref adopt_stream(int descriptor, address_family family);
/// The descriptor of `socket`, which is empty afterwards. Throws: io_error; then it is as before.
[[nodiscard]] int release_stream(owned_socket& socket);

}}}  // namespace coro::v0::detail
