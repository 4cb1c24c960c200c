// local_address: the name of a Unix socket, a path of the file system or an abstract one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <coro/base/detail/export.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace net {

/// A value, trivially copyable, compared by kind and name. Peers that have no name, as most clients
/// have none, have the default one.
class local_address {
public:
    /// The most characters of a path, and of an abstract name. See: unix(7).
    static constexpr std::size_t longest_name = 107;

    /// Unnamed.
    local_address() noexcept = default;

    /// A path. A relative one begins at the folder in which the process is when it is used.
    /// Throws: io_error (errc::bad_address: it is empty, has more than longest_name characters, or
    /// has a zero character within; what() says which).
    [[nodiscard]] CORO_EXPORT static local_address path(std::string_view path);
    /// A name that is no file: it vanishes with its server, and every process of the network
    /// namespace may use it. Every character is allowed.
    /// Throws: io_error (errc::bad_address: it is empty or has more than longest_name characters).
    [[nodiscard]] CORO_EXPORT static local_address abstract(std::string_view name);

    [[nodiscard]] bool is_unnamed() const noexcept { return size_ == 0; }
    [[nodiscard]] bool is_abstract() const noexcept { return size_ != 0 && bytes_[0] == '\0'; }
    /// The path, or the abstract name; empty when it is unnamed.
    [[nodiscard]] std::string_view name() const noexcept {
        const std::string_view all(bytes_.data(), size_);
        return is_abstract() ? all.substr(1) : all;
    }

    /// Enough for every text that to_text() writes.
    static constexpr std::size_t text_capacity = 120;

    /// Writes `unix:/run/x`, `unix:@name` or `unix:(unnamed)` into `buffer`, and returns the part
    /// of it that was written. A `?` stands for a character that no terminal shows.
    /// Requires: `buffer` has text_capacity bytes.
    CORO_EXPORT std::string_view to_text(std::span<char> buffer) const noexcept;
    [[nodiscard]] std::string to_string() const {
        std::array<char, text_capacity> buffer;
        return std::string(to_text(buffer));
    }

    friend bool operator==(const local_address&, const local_address&) noexcept = default;

private:
    friend struct local_address_access;

    std::array<char, longest_name + 1> bytes_{};  ///< an abstract name begins with a zero
    std::uint8_t size_ = 0;
};

}}}  // namespace coro::v0::net

namespace coro { inline namespace v0 { namespace detail {

/// The kernel's form of `from`.
[[nodiscard]] CORO_EXPORT socket_address to_socket_address(
    const net::local_address& from) noexcept;
/// False when `from` is no address of a Unix socket.
[[nodiscard]] CORO_EXPORT bool from_socket_address(const socket_address& from,
                                                   net::local_address& into) noexcept;

}}}  // namespace coro::v0::detail
