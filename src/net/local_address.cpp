// Names of Unix sockets: checked, as text, and in the kernel's layout.
#include <coro/net/local_address.hpp>

#include <algorithm>
#include <cstring>

#include <coro/base/detail/assert.hpp>
#include <coro/base/error.hpp>

namespace coro { inline namespace v0 { namespace net {

struct local_address_access {
    static auto& bytes(auto& of) noexcept { return of.bytes_; }
    static auto& size(auto& of) noexcept { return of.size_; }
};

namespace {

[[noreturn]] void refuse(std::string_view name, const std::string& why) {
    throw io_error(errc::bad_address, "name a Unix socket",
                   coro::detail::error_text("\"" + std::string(name) + "\": " + why));
}

void check_size(std::string_view name, const char* what) {
    if (name.empty()) refuse(name, std::string(what) + " is empty");
    if (name.size() > local_address::longest_name)
        refuse(name, std::string(what) + " has " + std::to_string(name.size()) +
                         " characters: at most " + std::to_string(local_address::longest_name) +
                         " are allowed");
}

bool is_shown(char letter) noexcept {
    const auto code = static_cast<unsigned char>(letter);
    return code >= 0x20 && code != 0x7f;
}

}  // namespace

local_address local_address::path(std::string_view path) {
    check_size(path, "the path");
    if (const std::size_t at = path.find('\0'); at != std::string_view::npos)
        refuse(path.substr(0, at), "a zero character follows, which no path may have");
    local_address made;
    std::copy(path.begin(), path.end(), made.bytes_.begin());
    made.size_ = static_cast<std::uint8_t>(path.size());
    return made;
}

local_address local_address::abstract(std::string_view name) {
    check_size(name, "the abstract name");
    local_address made;
    std::copy(name.begin(), name.end(), made.bytes_.begin() + 1);
    made.size_ = static_cast<std::uint8_t>(1 + name.size());
    return made;
}

std::string_view local_address::to_text(std::span<char> buffer) const noexcept {
    CORO_ASSERT(buffer.size() >= text_capacity,
                "local_address::to_text() needs text_capacity bytes");
    std::size_t size = 0;
    const auto put = [&](std::string_view text) {
        for (const char letter : text) buffer[size++] = is_shown(letter) ? letter : '?';
    };
    put("unix:");
    if (is_unnamed()) put("(unnamed)");
    if (is_abstract()) put("@");
    put(name());
    return {buffer.data(), size};
}

}}}  // namespace coro::v0::net

// The layout of unix(7): the family, 2 bytes, in host order; then the name. The kernel counts the
// final zero of a path.
namespace coro { inline namespace v0 { namespace detail {

namespace {
constexpr std::uint16_t family_local = 1;
constexpr std::size_t name_offset = 2;
}  // namespace

socket_address to_socket_address(const net::local_address& from) noexcept {
    using access = net::local_address_access;
    socket_address into;
    const std::size_t size = access::size(from);
    std::memcpy(into.bytes.data(), &family_local, sizeof family_local);
    std::memcpy(into.bytes.data() + name_offset, access::bytes(from).data(), size);
    const bool is_path = size != 0 && !from.is_abstract();
    // A path of 108 characters has no room for its zero: sockaddr_un ends behind it.
    const bool counts_zero = is_path && size < access::bytes(from).size();
    into.size = static_cast<std::uint32_t>(name_offset + size + (counts_zero ? 1 : 0));
    return into;
}

bool from_socket_address(const socket_address& from, net::local_address& into) noexcept {
    using access = net::local_address_access;
    std::uint16_t family = 0;
    if (from.size < name_offset || from.size > from.bytes.size()) return false;
    std::memcpy(&family, from.bytes.data(), sizeof family);
    if (family != family_local) return false;
    into = net::local_address();
    auto& bytes = access::bytes(into);
    // A path of 108 characters, which only others can bind, comes with a zero too many.
    const std::size_t room = std::min<std::size_t>(from.size - name_offset, bytes.size());
    std::memcpy(bytes.data(), from.bytes.data() + name_offset, room);
    const bool is_path = room != 0 && bytes[0] != '\0';
    const std::size_t size = is_path ? strnlen(bytes.data(), room) : room;
    access::size(into) = static_cast<std::uint8_t>(size);
    return true;
}

}}}  // namespace coro::v0::detail
