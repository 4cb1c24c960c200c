// Names of network interfaces, for the scope of a link-local address.
#pragma once

#include <cstdint>
#include <string_view>

namespace coro { inline namespace v0 { namespace detail {

/// The index of the interface called `name`, 0 when this machine has none of that name.
[[nodiscard]] std::uint32_t interface_index(std::string_view name) noexcept;

}}}  // namespace coro::v0::detail
