// The features of a kernel that the io_uring poller uses, and their names in CORO_URING.
#pragma once

#include <cstdint>

namespace coro { inline namespace v0 { namespace detail {

/// Features of the running kernel that the io_uring poller uses if they are there. Each missing one
/// is handled by itself. `CORO_URING=disable=a+b` takes them away by these names.
enum uring_feature : std::uint32_t {
    uring_single_issuer = 1u << 0,      ///< "single_issuer", 6.0
    uring_defer_taskrun = 1u << 1,      ///< "defer_taskrun", 6.1; falls back to coop_taskrun
    uring_coop_taskrun = 1u << 2,       ///< "coop_taskrun", 5.19
    uring_submit_all = 1u << 3,         ///< "submit_all", 5.18
    uring_buffer_ring = 1u << 4,        ///< "buffer_ring", 5.19; without: leases by poll + receive
    uring_registered_ring = 1u << 5,    ///< "registered_ring", 5.18
    uring_no_iowait = 1u << 6,          ///< "no_iowait", 6.15
    uring_no_sqarray = 1u << 7,         ///< "no_sqarray", 6.6
    uring_wait_argument = 1u << 8,      ///< "wait_argument" (EXT_ARG), 5.11; without: a timeout op
};

}}}  // namespace coro::v0::detail
