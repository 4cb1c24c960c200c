// The io_uring ABI: liburing.h, and what liburing 2.3 and the kernel headers of Linux 6.1 lack.
//
// liburing serves here as a header and as three thin system call wrappers (io_uring_setup(2),
// io_uring_enter(2), io_uring_register(2)). They return a negated errno and leave errno alone. The
// ring itself is mapped by uring_ring, because liburing 2.3 knows no NO_SQARRAY and would write
// through the index array that such a ring does not have.
#pragma once

#include <liburing.h>

#include <cstddef>
#include <cstdint>

namespace coro { inline namespace v0 { namespace detail {

// linux/io_uring.h, Linux 6.6: no array of indices between tail and entries.
inline constexpr unsigned setup_no_sqarray = 1u << 16;
// Linux 6.15: a wait does not count as waiting for the disk, so idle servers do not show 100 %.
inline constexpr unsigned enter_no_iowait = 1u << 7;
inline constexpr unsigned feature_no_iowait = 1u << 17;

/// The entries of a provided buffer ring. Not `io_uring_buf_ring::bufs`: newer kernel headers put
/// an empty struct in front of that array. In C++ that has size 1 and moves the array to byte 8,
/// and the kernel then returns ENOBUFS to everything.
inline io_uring_buf* ring_buffers(void* ring) noexcept { return static_cast<io_uring_buf*>(ring); }

/// Its tail lies over the unused last field of the first entry (io_uring_register(2),
/// IORING_REGISTER_PBUF_RING). So code that fills entry 0 must leave `resv` alone.
inline std::uint16_t* ring_buffers_tail(void* ring) noexcept { return &ring_buffers(ring)->resv; }

static_assert(sizeof(io_uring_buf) == 16 && offsetof(io_uring_buf, resv) == 14);
static_assert(sizeof(io_uring_sqe) == 64 && sizeof(io_uring_cqe) == 16);

}}}  // namespace coro::v0::detail
