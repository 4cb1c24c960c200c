// What a poller is made from: sizes of rings and of the pool of leases.
#pragma once

#include <cstdint>

namespace coro { inline namespace v0 { namespace detail {

/// What a poller is made from; a copy of the relevant part of run's options and the environment.
struct poller_options {
    unsigned ring_entries = 512;        ///< submission queue entries (CORO_URING sq=)
    unsigned completion_entries = 0;    ///< 0: four times ring_entries (CORO_URING cq=)
    /// Buffers in the pool; a pool that is found empty doubles, up to `lease_buffers_most`
    /// (CORO_URING buffers= sets both). A small pool stays in the cache and costs idle connections
    /// nothing. One of 64 that does not grow costs a thousand busy ones a poll and a system call
    /// more each.
    unsigned lease_buffers = 64;
    unsigned lease_buffers_most = 4096;
    /// A socket of loopback, or a network card that merges segments, often has so much at once.
    /// Memory comes page by page, as bytes do. With 16 KiB large messages cost up to twice as much
    /// (decision 0081).
    unsigned lease_buffer_bytes = 65536;
    /// The cap on allocated lease buffers beyond the pool; above it a leased receive answers
    /// result_limit. A connection holds one at most, so this is a cap on busy connections: 4 GiB if
    /// each of them is full.
    unsigned leases_on_heap = 65536;
    std::uint32_t disabled_features = 0;  ///< uring_feature bits (CORO_URING disable=, mask=)
};

}}}  // namespace coro::v0::detail
