// Names that the files of epoll_poller share: of its events and of the states of an operation.
#pragma once

#include <cstdint>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail::epoll {

/// epoll_event::data. No slot has the generation 0.
inline constexpr std::uint64_t wake_event = 0;
inline std::uint64_t event_data(const socket_slot& slot) noexcept {
    return std::uint64_t{slot.generation} << 32 | slot.index;
}

/// operation::backend_state
enum : std::uint8_t { state_parked = 0, state_ending = 1 };

}}}  // namespace coro::v0::detail::epoll
