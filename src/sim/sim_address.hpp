// Socket addresses of the simulated world, decoded from the kernel's layout without its headers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// An address taken apart. IPv4 is held as mapped IPv6 (::ffff:a.b.c.d, RFC 4291 §2.5.5.2): a
/// dual-stack listener then compares 16 bytes and no more.
struct sim_address {
    address_family family = address_family::ipv4;
    std::array<std::uint8_t, 16> ip{};
    std::uint16_t port = 0;  ///< host order
    std::string path;        ///< local only; abstract names keep their leading zero byte

    [[nodiscard]] bool is_v4() const noexcept;         ///< IPv4, also when written as mapped IPv6
    [[nodiscard]] bool is_any() const noexcept;        ///< 0.0.0.0, ::ffff:0.0.0.0 or ::
    [[nodiscard]] bool is_v4_loopback() const noexcept;  ///< 127.0.0.0/8

    friend bool operator==(const sim_address&, const sim_address&) = default;

    /// The wildcard address of `family`, port 0; the unnamed address when it is `local`.
    static sim_address any(address_family family);
    /// The loopback address in the form (IPv4 or IPv6) of `like`, port 0.
    static sim_address loopback(const sim_address& like);
};

/// The layout read and written (Linux, all architectures; ip(7), ipv6(7), unix(7)):
///   offset 0, 2 bytes, host order: family: 1 unix, 2 IPv4, 10 IPv6
///   IPv4: offset 2 port (big endian), 4 address (4 bytes); size 16
///   IPv6: offset 2 port (big endian), 4 flow, 8 address (16 bytes), 24 scope; size 28
///   unix: offset 2 path; size 2 + length
/// Answers 0, -EINVAL (too short) or -EAFNOSUPPORT (no family we know).
int decode_address(const socket_address& from, sim_address& into);

[[nodiscard]] socket_address encode_address(const sim_address& from) noexcept;

}}}  // namespace coro::v0::detail
