// Results of the waist as error codes, and sockets as text.
#pragma once

#include <span>
#include <string_view>
#include <system_error>

#include <coro/net/socket.hpp>

namespace coro::inline v0::detail {

/// Requires: `result` is negative.
[[nodiscard]] std::error_code error_of(std::int32_t result) noexcept;

/// The peer (or own address) of a socket, written into `buffer`; empty when there is none.
[[nodiscard]] std::string_view peer_text(socket_ref socket, std::span<char> buffer) noexcept;
[[nodiscard]] std::string_view local_text(socket_ref socket, std::span<char> buffer) noexcept;

}  // namespace coro::inline v0::detail
