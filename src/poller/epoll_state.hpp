// Names that the files of epoll_poller share: of its events and of the states of an operation.
#pragma once

#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <limits>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail::epoll {

/// epoll_event::data. No slot has the generation 0.
inline constexpr std::uint64_t wake_event = 0;
inline std::uint64_t event_data(const socket_slot& slot) noexcept {
    return std::uint64_t{slot.generation} << 32 | slot.index;
}

/// operation::backend_state
enum : std::uint8_t { state_parked = 0, state_ending = 1 };

/// What an attempt answers when the kernel said EAGAIN.
inline constexpr std::int32_t would_block = std::numeric_limits<std::int32_t>::min();

/// Tries once; on EINTR again. A byte count or a negated errno.
template <typename Call>
std::int32_t uninterrupted(Call call) noexcept {
    for (;;) {
        const ssize_t answer = call();
        // It fits: no call asks for more than most_bytes_at_once, and no datagram is as long.
        if (answer >= 0) return static_cast<std::int32_t>(answer);
        if (errno != EINTR) return -errno;
    }
}

}}}  // namespace coro::v0::detail::epoll
