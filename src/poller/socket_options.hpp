// Where the kernel has an option of sockets.
#pragma once

namespace coro { inline namespace v0 { namespace detail {

struct option_name {
    int level;
    int name;
};

/// The octet of IPv4, or that of IPv6, as the family of the socket says.
[[nodiscard]] option_name name_of_traffic_class(int descriptor) noexcept;

}}}  // namespace coro::v0::detail
