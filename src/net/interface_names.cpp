// The only place that asks the system for the names of its interfaces.
#include "net/interface_names.hpp"

#include <algorithm>
#include <array>

#include <net/if.h>

namespace coro { inline namespace v0 { namespace detail {

std::uint32_t interface_index(std::string_view name) noexcept {
    std::array<char, IF_NAMESIZE> terminated{};
    if (name.empty() || name.size() >= terminated.size()) return 0;
    if (name.find('\0') != std::string_view::npos) return 0;  // the system would see a shorter name
    std::copy(name.begin(), name.end(), terminated.begin());
    return ::if_nametoindex(terminated.data());
}

}}}  // namespace coro::v0::detail
