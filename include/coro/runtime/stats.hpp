// The counts of a loop that tests, servers and operators read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <coro/base/detail/export.hpp>

namespace coro { inline namespace v0 {

/// A snapshot of one loop's counters since it began. Deterministic for a deterministic program.
struct loop_stats {
    std::string_view poller;         ///< "io_uring", "epoll" or "simulation"
    std::uint64_t turns = 0;         ///< rounds of: timers, run queue, poller
    std::uint64_t resumed = 0;       ///< strands taken from the run queue
    std::uint64_t sleeps = 0;        ///< waits that could block
    std::uint64_t spins = 0;         ///< times it polled for a while before it slept
    std::uint64_t spin_hits = 0;     ///< of these, how often something came in time
    std::uint64_t timers_fired = 0;
    std::uint64_t timers_armed = 0;  ///< alive now
    std::uint64_t posts = 0;         ///< pieces of work that other threads handed over
    std::uint64_t posts_put_off = 0;  ///< turns that left some of them to the next: over 256
    std::uint64_t operations_submitted = 0;
    std::uint64_t operations_completed = 0;
    std::uint64_t receive_calls = 0;  ///< epoll: recv(2) calls; io_uring: receives submitted
    std::uint64_t send_calls = 0;     ///< epoll: send(2) calls; io_uring: sends submitted
    std::uint64_t would_block = 0;    ///< of these, how many ended with EAGAIN (epoll)
    std::uint64_t wait_calls = 0;     ///< epoll_wait(2), or io_uring_enter(2) that waits
    std::uint64_t enter_calls = 0;    ///< io_uring_enter(2), all
    std::uint64_t control_calls = 0;  ///< epoll_ctl(2)
    std::uint64_t queue_overflows = 0;    ///< completion queue overflows survived (io_uring)
    std::uint64_t buffers_exhausted = 0;  ///< ENOBUFS survived (io_uring)
    std::int64_t frames = 0;              ///< coroutine frames alive
    std::uint64_t operations = 0;         ///< submitted and not completed
    std::uint64_t sockets = 0;            ///< open
    std::uint64_t leases = 0;             ///< read buffers lent out
};

/// The counters of the running loop. Requires: called inside of run().
[[nodiscard]] CORO_EXPORT loop_stats current_loop_stats() noexcept;

/// The number of descriptors that this process may have open: the soft limit, as it is now. Each
/// connection takes one. See: getrlimit(2) RLIMIT_NOFILE.
[[nodiscard]] CORO_EXPORT std::size_t open_file_limit() noexcept;

}}  // namespace coro::v0
