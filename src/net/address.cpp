// Text and layout of endpoints: an own strict parser, so that one text means one thing everywhere.
#include <coro/net/address.hpp>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <type_traits>

#include <coro/base/detail/assert.hpp>

#include "net/interface_names.hpp"

namespace coro { inline namespace v0 { namespace net {

/// Lets the functions of this file reach the members.
struct endpoint_access {
    static ip_family& family(endpoint& e) noexcept { return e.family_; }
    static std::array<std::uint8_t, 16>& address(endpoint& e) noexcept { return e.address_; }
    static const std::array<std::uint8_t, 16>& address(const endpoint& e) noexcept {
        return e.address_;
    }
    static std::uint16_t& port(endpoint& e) noexcept { return e.port_; }
    static std::uint32_t& scope(endpoint& e) noexcept { return e.scope_; }
    static std::uint32_t scope(const endpoint& e) noexcept { return e.scope_; }
};

static_assert(std::is_trivially_copyable_v<endpoint> && sizeof(endpoint) <= 28);

namespace {

using access = endpoint_access;

/// Which part of a text is wrong, why, and what to write; no reason means that nothing is.
struct fault {
    std::string_view part;
    const char* reason = nullptr;
    const char* cure = nullptr;
    explicit operator bool() const noexcept { return reason != nullptr; }
};

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
bool all_digits(std::string_view text) noexcept {
    return std::all_of(text.begin(), text.end(), is_digit);
}

bool is_letter(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_name_character(char c) noexcept {
    return is_digit(c) || is_letter(c) || c == '-' || c == '_' || c == '.';
}

/// RFC 1123 §2.1: the last label of a host name is not numeric. Here it must begin with a letter,
/// so that a mistyped address (`127.0.0.0x1`) is told as such.
bool looks_like_host_name(std::string_view text) noexcept {
    const std::string_view last = text.substr(text.rfind('.') + 1);  // npos + 1 is 0
    return !last.empty() && is_letter(last.front()) &&
           std::all_of(text.begin(), text.end(), is_name_character);
}

/// Texts that mean an address elsewhere, and not here.
fault recognise(std::string_view text) noexcept {
    if (text.find("://") != std::string_view::npos) {
        return {text, "looks like a URL", "write address and port alone, as in 127.0.0.1:80"};
    }
    if (text.starts_with("unix:") || text.starts_with("/") || text.starts_with("./")) {
        return {text, "looks like the path of a Unix socket, which coro does not have",
                "write an IP address and a port, as in 127.0.0.1:80"};
    }
    if (!text.empty() && all_digits(text)) {
        return {text, "looks like a port alone",
                "write the address before it: 127.0.0.1:80 for this machine, 0.0.0.0:80 for all "
                "its interfaces"};
    }
    if (text.starts_with(":") && all_digits(text.substr(1))) {
        return {text, "has no address before the port",
                "write 127.0.0.1:80 for this machine, 0.0.0.0:80 for all its interfaces"};
    }
    const std::string_view host = text.substr(0, text.find(':'));
    if (text.find(':') == text.rfind(':') && looks_like_host_name(host)) {
        return {host, "looks like a host name, and names are not looked up",
                host == "localhost" ? "write 127.0.0.1 or [::1]" : "write its IP address"};
    }
    return {};
}

/// A decimal number without sign or leading zero, 0 to `limit`.
fault parse_decimal(std::string_view text, std::uint32_t limit, const char* above,
                    std::uint32_t& into) noexcept {
    if (text.empty()) return {text, "is empty where a number must be"};
    if (!all_digits(text)) return {text, "is not a decimal number"};
    if (text.size() > 1 && text.front() == '0') return {text, "has a leading zero"};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
    static_cast<void>(end);
    if (error != std::errc{} || into > limit) return {text, above};
    return {};
}

fault parse_port(std::string_view text, std::uint16_t& into) noexcept {
    std::uint32_t port = 0;
    if (text.empty()) return {text, "is empty where the port must be"};
    if (is_letter(text.front()) && std::all_of(text.begin(), text.end(), is_name_character)) {
        return {text, "looks like the name of a service",
                "write the number of its port, 80 for http"};
    }
    if (const fault bad = parse_decimal(text, 65535, "is above 65535, the last port", port)) {
        return bad;
    }
    into = static_cast<std::uint16_t>(port);
    return {};
}

fault parse_v4(std::string_view text, std::uint8_t* into) noexcept {
    std::string_view rest = text;
    for (int i = 0; i < 4; ++i) {
        const std::size_t dot = rest.find('.');
        if ((dot == std::string_view::npos) != (i == 3)) {
            return {text, "does not have four numbers"};
        }
        std::uint32_t number = 0;
        const std::string_view part = rest.substr(0, dot);
        if (const fault bad = parse_decimal(part, 255, "is above 255", number)) return bad;
        into[i] = static_cast<std::uint8_t>(number);
        if (i < 3) rest.remove_prefix(dot + 1);
    }
    return {};
}

fault parse_group(std::string_view text, std::uint16_t& into) noexcept {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into, 16);
    if (text.size() > 4) return {text, "has more than four hexadecimal digits"};
    if (error != std::errc{} || end != text.data() + text.size()) {
        return {text, "is not a hexadecimal number"};
    }
    return {};
}

/// Groups of an IPv6 address as they are read, with the place of "::" if there was one.
struct groups {
    std::array<std::uint8_t, 16> bytes{};
    std::size_t count = 0;                      ///< in bytes
    std::size_t gap = std::string_view::npos;   ///< in bytes

    [[nodiscard]] bool has_gap() const noexcept { return gap != std::string_view::npos; }
};

/// One group, or the dotted form, which stands for the last two.
fault take_part(std::string_view all, std::string_view part, bool last, groups& into) noexcept {
    const bool dotted = part.find('.') != std::string_view::npos;
    if (dotted && !last) return {part, "may only stand at the end"};
    const std::size_t size = dotted ? 4 : 2;
    if (into.count + size > 16) return {all, "has more than eight groups"};
    std::uint8_t* where = into.bytes.data() + into.count;
    into.count += size;
    if (dotted) return parse_v4(part, where);
    std::uint16_t group = 0;
    if (const fault bad = parse_group(part, group)) return bad;
    where[0] = static_cast<std::uint8_t>(group >> 8);
    where[1] = static_cast<std::uint8_t>(group & 0xff);
    return {};
}

fault parse_v6(std::string_view text, std::array<std::uint8_t, 16>& into) noexcept {
    groups read;
    std::string_view rest = text;
    if (rest.empty()) return {text, "is empty where an address must be"};
    if (rest.front() == ':' && !rest.starts_with("::")) return {text, "begins with a single colon"};
    while (!rest.empty()) {
        if (rest.starts_with("::")) {
            if (rest.starts_with(":::")) return {text, "has three colons in a row"};
            if (read.has_gap()) return {text, "has \"::\" twice"};
            read.gap = read.count;
            rest.remove_prefix(2);
            continue;
        }
        if (rest.front() == ':') rest.remove_prefix(1);
        if (rest.empty()) return {text, "ends with a single colon"};
        const std::size_t colon = rest.find(':');
        const bool last = colon == std::string_view::npos;
        if (const fault bad = take_part(text, rest.substr(0, colon), last, read)) return bad;
        rest.remove_prefix(last ? rest.size() : colon);
    }
    if (!read.has_gap() && read.count != 16) return {text, "has fewer than eight groups"};
    if (read.has_gap() && read.count == 16) return {text, "has eight groups and \"::\" as well"};
    const std::size_t gap = std::min(read.gap, read.count);
    into = {};
    std::copy_n(read.bytes.begin(), gap, into.begin());
    std::copy(read.bytes.begin() + static_cast<std::ptrdiff_t>(gap),
              read.bytes.begin() + static_cast<std::ptrdiff_t>(read.count),
              into.end() - static_cast<std::ptrdiff_t>(read.count - gap));
    return {};
}

fault parse_scope(std::string_view text, std::uint32_t& into) noexcept {
    if (text.empty()) return {text, "is empty where the interface must be"};
    if (all_digits(text)) {
        constexpr std::uint32_t limit = std::numeric_limits<std::uint32_t>::max();
        return parse_decimal(text, limit, "is above 4294967295", into);
    }
    into = detail::interface_index(text);
    if (into == 0) return {text, "is no interface of this machine"};
    return {};
}

fault parse_bracketed(std::string_view text, endpoint& into) noexcept {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return {text, "has no closing bracket"};
    std::string_view address = text.substr(1, close - 1);
    const std::string_view tail = text.substr(close + 1);
    const std::size_t percent = address.find('%');
    access::family(into) = ip_family::ipv6;
    if (const fault bad = parse_v6(address.substr(0, percent), access::address(into))) return bad;
    if (percent != std::string_view::npos) {
        address.remove_prefix(percent + 1);
        if (const fault bad = parse_scope(address, access::scope(into))) return bad;
    }
    if (tail.empty()) {
        return {text, "has no port", "write it after the bracket, as in [::1]:80"};
    }
    if (tail.front() != ':') return {tail, "stands where \":port\" must"};
    return parse_port(tail.substr(1), access::port(into));
}

fault parse_endpoint(std::string_view text, endpoint& into) noexcept {
    if (text.empty()) return {text, "is empty", "write 127.0.0.1:80 or [::1]:80"};
    if (text.front() == '[') return parse_bracketed(text, into);
    if (const fault known = recognise(text)) return known;
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos) {
        return {text, "has no port", "write it after a colon, as in 127.0.0.1:80"};
    }
    const std::string_view address = text.substr(0, colon);
    if (address.find(':') != std::string_view::npos) {
        return {text, "is IPv6 without brackets", "write them, as in [::1]:80"};
    }
    if (const fault bad = parse_v4(address, access::address(into).data())) return bad;
    return parse_port(text.substr(colon + 1), access::port(into));
}

/// `part` in quotes for a message: cut at `limit`, and nothing in it that a terminal would obey.
std::string quoted(std::string_view part, std::size_t limit) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text = "\"";
    for (const char c : part.substr(0, limit)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) text += c;
        else text.append("\\x").append(1, digits[byte >> 4]).append(1, digits[byte & 15]);
    }
    return text.append(part.size() > limit ? "...\"" : "\"");
}

io_error bad_address(std::string_view text, const fault& bad) {
    const bool whole = bad.part.data() == text.data() && bad.part.size() == text.size();
    std::string shown = quoted(text, 48);
    if (!whole) shown.append(": ").append(quoted(bad.part, 20));
    shown.append(" ").append(bad.reason);
    if (bad.cure != nullptr) shown.append(" (").append(bad.cure).append(")");
    // Longer than an endpoint may be: it is the text that tells it.
    return io_error(make_error_code(errc::bad_address), "parse address",
                    detail::error_text{shown});
}

/// Appends to a buffer known to be long enough.
class writer {
public:
    explicit writer(std::span<char> buffer) noexcept : buffer_(buffer) {}
    void put(char c) noexcept { buffer_[size_++] = c; }
    void put_number(std::uint32_t number, int base = 10) noexcept {
        char* begin = buffer_.data() + size_;
        char* limit = buffer_.data() + buffer_.size();
        const auto [end, error] = std::to_chars(begin, limit, number, base);
        static_cast<void>(error);
        size_ += static_cast<std::size_t>(end - begin);
    }
    [[nodiscard]] std::string_view text() const noexcept { return {buffer_.data(), size_}; }

private:
    std::span<char> buffer_;
    std::size_t size_ = 0;
};

void write_v4(writer& out, const std::uint8_t* bytes) noexcept {
    for (int i = 0; i < 4; ++i) {
        if (i != 0) out.put('.');
        out.put_number(bytes[i]);
    }
}

/// RFC 5952 §4.2: "::" for the longest run of zero groups, the first of equals, never for one
/// alone.
void write_v6(writer& out, const std::array<std::uint8_t, 16>& bytes) noexcept {
    constexpr std::array<std::uint8_t, 12> mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    const bool dotted = std::equal(mapped.begin(), mapped.end(), bytes.begin());
    const std::size_t end = dotted ? 6 : 8;
    const auto group = [&bytes](std::size_t i) {
        return static_cast<std::uint32_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
    };
    std::size_t run_begin = end;
    std::size_t run_size = 1;
    for (std::size_t i = 0, zeros = 0; i < end; ++i) {
        zeros = group(i) == 0 ? zeros + 1 : 0;
        if (zeros <= run_size) continue;
        run_size = zeros;
        run_begin = i + 1 - zeros;
    }
    for (std::size_t i = 0; i < end;) {
        if (i == run_begin) {
            out.put(':');
            out.put(':');
            i += run_size;
            continue;
        }
        if (i != 0 && i != run_begin + run_size) out.put(':');
        out.put_number(group(i), 16);
        ++i;
    }
    if (!dotted) return;
    out.put(':');
    write_v4(out, bytes.data() + 12);
}

}  // namespace

result<endpoint> endpoint::parse(std::string_view text) {
    endpoint parsed;
    if (const fault bad = parse_endpoint(text, parsed)) return bad_address(text, bad);
    return parsed;
}

namespace {

bool are_zero(std::span<const std::uint8_t> bytes) noexcept {
    return std::all_of(bytes.begin(), bytes.end(), [](auto byte) { return byte == 0; });
}

/// Whether an IPv6 address holds one of IPv4, in its last four bytes.
bool is_mapped(const std::array<std::uint8_t, 16>& address) noexcept {
    return are_zero(std::span(address).first(10)) && address[10] == 0xff && address[11] == 0xff;
}

}  // namespace

bool endpoint::is_loopback() const noexcept {
    if (family_ == ip_family::ipv4) return address_[0] == 127;
    if (is_mapped(address_)) return address_[12] == 127;
    return are_zero(std::span(address_).first(15)) && address_[15] == 1;
}

endpoint endpoint::network() const noexcept {
    endpoint of;
    of.family_ = family_;
    if (family_ == ip_family::ipv4) {
        of.address_ = address_;
    } else if (is_mapped(address_)) {
        of.family_ = ip_family::ipv4;
        std::copy(address_.begin() + 12, address_.end(), of.address_.begin());
    } else {
        std::copy(address_.begin(), address_.begin() + 8, of.address_.begin());
        of.scope_ = scope_;
    }
    return of;
}

endpoint endpoint::loopback(std::uint16_t port) noexcept {
    endpoint made = any(port);
    made.address_[0] = 127;
    made.address_[3] = 1;
    return made;
}

endpoint endpoint::loopback_v6(std::uint16_t port) noexcept {
    endpoint made = any_v6(port);
    made.address_[15] = 1;
    return made;
}

endpoint endpoint::any(std::uint16_t port) noexcept { return endpoint().with_port(port); }

endpoint endpoint::any_v6(std::uint16_t port) noexcept {
    endpoint made = any(port);
    made.family_ = ip_family::ipv6;
    return made;
}

std::string_view endpoint::to_text(std::span<char> buffer) const noexcept {
    CORO_ASSERT(buffer.size() >= text_capacity, "endpoint::to_text() needs text_capacity bytes");
    writer out(buffer);
    if (family_ == ip_family::ipv4) {
        write_v4(out, address_.data());
    } else {
        out.put('[');
        write_v6(out, address_);
        if (scope_ != 0) {
            out.put('%');
            out.put_number(scope_);
        }
        out.put(']');
    }
    out.put(':');
    out.put_number(port_);
    return out.text();
}

std::size_t endpoint::hash() const noexcept {
    // FNV-1a over exactly the bytes that comparison looks at: padding must not count.
    std::uint64_t value = 0xcbf29ce484222325;
    const auto add = [&value](std::uint64_t byte) { value = (value ^ byte) * 0x100000001b3; };
    add(static_cast<std::uint64_t>(family_));
    for (const std::uint8_t byte : address_) add(byte);
    add(port_ & 0xffu);
    add(port_ >> 8);
    for (unsigned shift = 0; shift < 32; shift += 8) add((scope_ >> shift) & 0xffu);
    return static_cast<std::size_t>(value);
}

}}}  // namespace coro::v0::net

// The layouts of ip(7) and ipv6(7), the same on every Linux architecture. A test holds them against
// the system's headers. This file does not include those, so that it has no need of a system.
//
//   offset  sockaddr_in (16 bytes)            sockaddr_in6 (28 bytes)
//        0  family = 2, host order            family = 10, host order
//        2  port, big endian                  port, big endian
//        4  address (4)                       flow label (4)
//        8  zero (8)                          address (16)
//       24                                    scope, host order
namespace coro { inline namespace v0 { namespace detail {

namespace {

constexpr std::uint16_t family_v4 = 2;
constexpr std::uint16_t family_v6 = 10;
constexpr std::uint32_t size_v4 = 16;
constexpr std::uint32_t size_v6 = 28;

}  // namespace

socket_address to_socket_address(const net::endpoint& from) noexcept {
    using access = net::endpoint_access;
    const bool v4 = from.family() == net::ip_family::ipv4;
    const std::uint16_t family = v4 ? family_v4 : family_v6;
    const std::uint32_t scope = access::scope(from);
    socket_address into;
    std::byte* bytes = into.bytes.data();
    std::memcpy(bytes, &family, 2);
    bytes[2] = static_cast<std::byte>(from.port() >> 8);
    bytes[3] = static_cast<std::byte>(from.port() & 0xff);
    std::memcpy(bytes + (v4 ? 4 : 8), access::address(from).data(), v4 ? 4 : 16);
    if (!v4) std::memcpy(bytes + 24, &scope, 4);
    into.size = v4 ? size_v4 : size_v6;
    return into;
}

bool from_socket_address(const socket_address& from, net::endpoint& into) noexcept {
    using access = net::endpoint_access;
    const std::byte* bytes = from.bytes.data();
    std::uint16_t family = 0;
    std::memcpy(&family, bytes, 2);
    const bool v4 = family == family_v4 && from.size >= size_v4;
    const bool v6 = family == family_v6 && from.size >= size_v6;
    if (!v4 && !v6) return false;
    into = net::endpoint();
    access::family(into) = v4 ? net::ip_family::ipv4 : net::ip_family::ipv6;
    access::port(into) = static_cast<std::uint16_t>(std::to_integer<unsigned>(bytes[2]) << 8 |
                                                    std::to_integer<unsigned>(bytes[3]));
    std::memcpy(access::address(into).data(), bytes + (v4 ? 4 : 8), v4 ? 4 : 16);
    if (v6) std::memcpy(&access::scope(into), bytes + 24, 4);
    return true;
}

}}}  // namespace coro::v0::detail
