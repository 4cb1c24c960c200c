// endpoint: an IP address with its port, as TCP takes it.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <coro/base/detail/export.hpp>
#include <coro/base/result.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace net {

enum class ip_family : std::uint8_t { ipv4, ipv6 };

/// A value: 24 bytes, trivially copyable, compared by family, address, port and scope. An IPv4
/// address and its v4-mapped IPv6 form (`::ffff:127.0.0.1`) are two different endpoints.
class endpoint {
public:
    /// 0.0.0.0:0.
    constexpr endpoint() noexcept = default;

    /// Reads `127.0.0.1:80`, `[::1]:80`, `[fe80::1%2]:80` or `[fe80::1%eth0]:80`, and nothing else:
    /// no host names, no spaces, no missing port, no leading zeros in decimal numbers. A scope that
    /// is not a number is looked up as an interface of this machine, here and now.
    /// Errors: bad_address. Its what() shows the offending part and the reason. If the text looks
    /// like something else (a host name, a URL, a port alone), it also says what to write.
    /// `parse address "127.0.0.256:80": "256" is above 255: not an address` is an example. Its
    /// endpoint() is empty.
    /// See: RFC 4291 §2.2, RFC 4007 §11; if_nametoindex(3).
    [[nodiscard]] CORO_EXPORT static result<endpoint> parse(std::string_view text);

    /// 127.0.0.1 and ::1: reachable from this machine only.
    [[nodiscard]] CORO_EXPORT static endpoint loopback(std::uint16_t port) noexcept;
    [[nodiscard]] CORO_EXPORT static endpoint loopback_v6(std::uint16_t port) noexcept;
    /// 0.0.0.0 and :: (every address of this machine), for listeners.
    [[nodiscard]] CORO_EXPORT static endpoint any(std::uint16_t port) noexcept;
    [[nodiscard]] CORO_EXPORT static endpoint any_v6(std::uint16_t port) noexcept;

    [[nodiscard]] constexpr ip_family family() const noexcept { return family_; }
    [[nodiscard]] constexpr std::uint16_t port() const noexcept { return port_; }
    /// The same address with another port.
    [[nodiscard]] constexpr endpoint with_port(std::uint16_t port) const noexcept {
        endpoint other = *this;
        other.port_ = port;
        return other;
    }

    /// Whether it is an address of this machine only: 127.0.0.0/8 or ::1, v4-mapped or not.
    [[nodiscard]] CORO_EXPORT bool is_loopback() const noexcept;
    /// The client behind it, as far as an address tells: IPv4 without the port, also if it is
    /// v4-mapped; of IPv6 the /64, which one machine may have for itself. See: RFC 6177 §2.
    [[nodiscard]] CORO_EXPORT endpoint network() const noexcept;

    /// Enough for every text that to_text() writes.
    static constexpr std::size_t text_capacity = 64;

    /// Writes the canonical text into `buffer` and returns the part of it that was written. parse()
    /// makes this endpoint of it again. The scope is written as a number, because the name of an
    /// interface may change and asking for it is a system call.
    /// Requires: `buffer` has text_capacity bytes.
    /// See: RFC 5952 §4 and §5 (v4-mapped addresses end in dotted form).
    CORO_EXPORT std::string_view to_text(std::span<char> buffer) const noexcept;
    [[nodiscard]] std::string to_string() const {
        std::array<char, text_capacity> buffer;
        return std::string(to_text(buffer));
    }

    friend constexpr auto operator<=>(const endpoint&, const endpoint&) noexcept = default;

    /// A hash of all that comparison looks at.
    [[nodiscard]] CORO_EXPORT std::size_t hash() const noexcept;

private:
    friend struct endpoint_access;

    ip_family family_ = ip_family::ipv4;
    std::array<std::uint8_t, 16> address_{};  ///< network order; IPv4 in the first four
    std::uint16_t port_ = 0;
    std::uint32_t scope_ = 0;                 ///< IPv6: index of the interface, 0 is none
};

}}}  // namespace coro::v0::net

namespace coro { inline namespace v0 { namespace detail {

/// The kernel's form of `from`; connect(2) and bind(2) take it.
[[nodiscard]] CORO_EXPORT socket_address to_socket_address(const net::endpoint& from) noexcept;
/// False when `from` is no IPv4 or IPv6 address; the flow label, which nobody sets, is dropped.
[[nodiscard]] CORO_EXPORT bool from_socket_address(const socket_address& from,
                                                   net::endpoint& into) noexcept;

}}}  // namespace coro::v0::detail

template <>
struct std::hash<coro::net::endpoint> {
    std::size_t operator()(const coro::net::endpoint& value) const noexcept { return value.hash(); }
};
