// Names that the files of uring_poller share: of its requests and of the states of an operation.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <cstdint>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail::uring {

// user_data: the address of the operation, or one of these in its low bits, which are zero there.
enum tag : std::uint64_t {
    tag_operation = 0,
    tag_ignored = 1,  ///< a cancel, a removal: what it answers does not matter
    tag_wake = 2,     ///< the poll of the event descriptor
    tag_timeout = 3,  ///< number << tag_bits
};
inline constexpr unsigned tag_bits = 3;
inline constexpr std::uint64_t tag_mask = (1u << tag_bits) - 1;
static_assert(alignof(operation) >= tag_mask + 1);

inline std::uint64_t name_of(const operation& op) noexcept {
    return reinterpret_cast<std::uintptr_t>(&op);
}

// operation::backend_state: 0 is "a request of its own is in the kernel or in the queue", and
enum state : std::uint8_t {
    cancelling = 1,    ///< asked to end; the next -ECANCELED is the answer
    settled = 2,       ///< in ready_, with its result; the kernel is done with it
    owes_request = 4,  ///< postponed: no request in the kernel, wants one
    owes_cancel = 8,   ///< postponed: the request is in the kernel, its cancel found no room
    polling = 16,      ///< leased: the request in the kernel is a poll for readability;
                       ///< poll_send: it polls an epoll set in place of the descriptor
    refused = 32,      ///< a connect to a local listener whose backlog is full: no request in the
                       ///< kernel, asked again soon
};
inline constexpr std::uint8_t owes_something = owes_request | owes_cancel;

/// To get requests past EBUSY, EAGAIN or ENOMEM, before what is there is handed out first.
inline constexpr int most_attempts = 16;

inline operation*& lane_of(socket_slot& slot, opcode code) noexcept {
    return receives(code) ? slot.receiver : slot.sender;
}

/// Answers that only mean "not now": cancelled by us, interrupted, or would have blocked.
inline bool is_no_answer(std::int32_t result) noexcept {
    return result == -ECANCELED || result == -EINTR || result == -EAGAIN;
}

/// For accept4(2) and its request: the descriptors are like those of every other backend.
inline constexpr std::uint32_t accept_flags = SOCK_CLOEXEC | SOCK_NONBLOCK;

}}}  // namespace coro::v0::detail::uring
