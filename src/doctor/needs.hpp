// What one connection needs: constants that were measured, and how.
#pragma once

#include <cstdint>
#include <limits>

#include "doctor/arguments.hpp"

namespace coro_doctor {

/// User memory of one more idle connection of `serve` with leased reads; a release build, either
/// poller. perf/kernel_bytes.py; docs/guide/doctor.md, "Constants".
inline constexpr std::uint64_t user_bytes_coroutine = 800;
/// The same with a fiber: a page of its stack besides.
inline constexpr std::uint64_t user_bytes_fiber = 5024;
/// Kernel memory of one idle connection: socket, inode, directory entry, file, and what io_uring
/// keeps for it; epoll keeps less. The same measurement.
inline constexpr std::uint64_t kernel_bytes_connection = 4200;
/// Kernel memory of a connection in TIME_WAIT, an object of tw_sock_TCP in /proc/slabinfo.
inline constexpr std::uint64_t kernel_bytes_time_wait = 256;
/// What a loop has open: the ring or epoll, and its ways to be woken. docs/guide/running.md.
inline constexpr std::uint64_t descriptors_of_loop = 3;
/// Listeners, stdin, stdout, stderr, a log, and some in reserve.
inline constexpr std::uint64_t descriptors_of_program = 64;
/// A stack and its guard. docs/guide/fibers.md, "The stack".
inline constexpr std::uint64_t mappings_of_fiber = 2;
/// Mappings of a program without fibers: its files, heaps, rings.
inline constexpr std::uint64_t mappings_of_program = 1000;
/// run_options::blocking_threads, by default.
inline constexpr std::uint64_t threads_for_blocking = 16;
/// Locked memory of one loop: its rings (docs/design/decisions/0052-one-poller-for-all-loops.md),
/// and the pool of leases grown to the full. docs/guide/doctor.md, "Constants".
inline constexpr std::uint64_t locked_bytes_of_loop = 256 * 1024;

/// The greatest number where the product is greater.
[[nodiscard]] constexpr std::uint64_t product(std::uint64_t one, std::uint64_t other) noexcept {
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    return other != 0 && one > most / other ? most : one * other;
}

[[nodiscard]] constexpr std::uint64_t user_bytes(const question& asked) noexcept {
    return (asked.fibers ? user_bytes_fiber : user_bytes_coroutine) + asked.bytes_user;
}
[[nodiscard]] constexpr std::uint64_t descriptors_for(std::uint64_t connections,
                                                      std::uint64_t loops) noexcept {
    return connections + loops * descriptors_of_loop + descriptors_of_program;
}
[[nodiscard]] constexpr std::uint64_t mappings_for(std::uint64_t connections) noexcept {
    return connections * mappings_of_fiber + mappings_of_program;
}
[[nodiscard]] constexpr std::uint64_t threads_for(std::uint64_t loops) noexcept {
    return loops + threads_for_blocking;
}

}  // namespace coro_doctor
