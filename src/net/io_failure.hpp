// Results of the waist as error codes, and sockets as text.
#pragma once

#include <span>
#include <string_view>
#include <system_error>

#include <coro/net/detail/socket.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Requires: `result` is negative.
[[nodiscard]] std::error_code error_of(std::int32_t result) noexcept;
/// The same for a result of an operation on `socket`, which may be a transport.
[[nodiscard]] std::error_code error_of(std::int32_t result, socket_ref socket) noexcept;

/// The peer (or own address) of a socket, written into `buffer`; empty when there is none. For a
/// transport: what it says of itself, not copied.
[[nodiscard]] std::string_view peer_text(socket_ref socket, std::span<char> buffer) noexcept;
[[nodiscard]] std::string_view local_text(socket_ref socket, std::span<char> buffer) noexcept;

}}}  // namespace coro::v0::detail
