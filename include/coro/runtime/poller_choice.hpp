// The choice of one of the three worlds for a run.
#pragma once

#include <cstdint>

namespace coro { inline namespace v0 {

/// The world in which a run lives.
enum class poller_choice : std::uint8_t {
    automatic,  ///< io_uring, or epoll (with a report) where it cannot be set up
    io_uring,
    epoll,
    simulation,  ///< virtual time and a network in memory; everything else unchanged
};

}}  // namespace coro::v0
