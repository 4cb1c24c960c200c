// Results of the waist as error codes, and sockets as text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <system_error>

#include <coro/net/detail/socket.hpp>

#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// Requires: `result` is negative.
[[nodiscard]] std::error_code error_of(std::int32_t result) noexcept;
/// The same for a result of an operation on `socket`, which may be a transport.
[[nodiscard]] std::error_code error_of(std::int32_t result, socket_ref socket) noexcept;

/// Whether a socket with these notes that is destroyed now ends by a reset
/// (stream::reset_on_failure).
[[nodiscard]] bool ends_by_reset(const socket_notes& notes) noexcept;

/// Enough for the text of every socket.
inline constexpr std::size_t name_capacity = 136;

/// Empty for an address of a kind that is not known here.
[[nodiscard]] std::string_view address_text(const socket_address& address,
                                            std::span<char> buffer) noexcept;
/// The poller of a socket, on its loop.
[[nodiscard]] poller& poller_of(socket_ref socket) noexcept;

/// The peer (or own address) of a socket, written into `buffer`, which has name_capacity bytes;
/// empty when there is none. For a transport: what it says of itself, not copied. Of a local
/// connection whose peer has no name: `client of unix:/run/x`.
[[nodiscard]] std::string_view peer_text(socket_ref socket, std::span<char> buffer) noexcept;
[[nodiscard]] std::string_view local_text(socket_ref socket, std::span<char> buffer) noexcept;

}}}  // namespace coro::v0::detail
