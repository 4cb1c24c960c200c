// Socket addresses of the simulated world: decoding and encoding.
#include "sim/sim_address.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr std::uint16_t family_unix = 1;
constexpr std::uint16_t family_ipv4 = 2;
constexpr std::uint16_t family_ipv6 = 10;
constexpr std::size_t path_offset = 2;
constexpr std::size_t longest_path = 108;
constexpr std::uint32_t size_ipv4 = 16;
constexpr std::uint32_t size_ipv6 = 28;
constexpr std::array<std::uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::uint16_t big_endian_port(const socket_address& from) noexcept {
    return static_cast<std::uint16_t>((std::to_integer<unsigned>(from.bytes[2]) << 8) |
                                      std::to_integer<unsigned>(from.bytes[3]));
}

int decode_path(const socket_address& from, sim_address& into) {
    into = sim_address::any(address_family::local);
    const std::size_t length = from.size - path_offset;
    if (length > longest_path) return -EINVAL;
    const char* text = reinterpret_cast<const char*>(from.bytes.data()) + path_offset;
    // A name in the file system ends at its zero byte; an abstract one starts with it: unix(7).
    const bool is_abstract = length > 0 && text[0] == '\0';
    into.path.assign(text, is_abstract ? length : strnlen(text, length));
    return 0;
}

}  // namespace

bool sim_address::is_v4() const noexcept {
    return family != address_family::local &&
           std::equal(mapped_prefix.begin(), mapped_prefix.end(), ip.begin());
}

bool sim_address::is_any() const noexcept {
    const std::size_t from = is_v4() ? mapped_prefix.size() : 0;
    return std::all_of(ip.begin() + static_cast<std::ptrdiff_t>(from), ip.end(),
                       [](std::uint8_t byte) { return byte == 0; });
}

bool sim_address::is_v4_loopback() const noexcept {
    return is_v4() && ip[12] == 127;
}

sim_address sim_address::any(address_family family) {
    sim_address made;
    made.family = family;
    if (family == address_family::ipv4) {
        std::copy(mapped_prefix.begin(), mapped_prefix.end(), made.ip.begin());
    }
    return made;
}

sim_address sim_address::loopback(const sim_address& like) {
    sim_address made = any(like.family);
    if (like.is_v4()) {
        std::copy(mapped_prefix.begin(), mapped_prefix.end(), made.ip.begin());
        made.ip[12] = 127;
    }
    made.ip[15] = 1;
    return made;
}

int decode_address(const socket_address& from, sim_address& into) {
    std::uint16_t family = 0;
    if (from.size < sizeof family || from.size > from.bytes.size()) return -EINVAL;
    std::memcpy(&family, from.bytes.data(), sizeof family);
    if (family == family_unix) return decode_path(from, into);
    if (family == family_ipv4) {
        if (from.size < size_ipv4) return -EINVAL;
        into = sim_address::any(address_family::ipv4);
        std::memcpy(into.ip.data() + mapped_prefix.size(), from.bytes.data() + 4, 4);
    } else if (family == family_ipv6) {
        if (from.size < size_ipv6) return -EINVAL;
        into = sim_address::any(address_family::ipv6);
        std::memcpy(into.ip.data(), from.bytes.data() + 8, into.ip.size());
    } else {
        return -EAFNOSUPPORT;
    }
    into.port = big_endian_port(from);
    return 0;
}

socket_address encode_address(const sim_address& from) noexcept {
    socket_address made;
    std::uint16_t family = family_unix;
    if (from.family == address_family::local) {
        const std::size_t length = std::min(from.path.size(), longest_path);
        std::memcpy(made.bytes.data() + path_offset, from.path.data(), length);
        // The kernel counts the final zero of a file name, and nothing for an unnamed socket.
        const bool counts_zero = length > 0 && from.path[0] != '\0';
        made.size = static_cast<std::uint32_t>(path_offset + length + (counts_zero ? 1 : 0));
    } else {
        made.bytes[2] = static_cast<std::byte>(from.port >> 8);
        made.bytes[3] = static_cast<std::byte>(from.port & 0xff);
        if (from.family == address_family::ipv4) {
            family = family_ipv4;
            std::memcpy(made.bytes.data() + 4, from.ip.data() + mapped_prefix.size(), 4);
            made.size = size_ipv4;
        } else {
            family = family_ipv6;
            std::memcpy(made.bytes.data() + 8, from.ip.data(), from.ip.size());
            made.size = size_ipv6;
        }
    }
    std::memcpy(made.bytes.data(), &family, sizeof family);
    return made;
}

}}}  // namespace coro::v0::detail
