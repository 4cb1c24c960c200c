// The kernel's record of a TCP connection, as getsockopt(2) and sock_diag(7) give it.
#pragma once

#include <cstddef>

namespace coro { inline namespace v0 {
namespace net {
struct tcp_info;
}
namespace detail {

/// Reads a record of `size` bytes: an older kernel gives a shorter one, a newer one a longer one
/// than is known here.
void decode_tcp_info(const void* record, std::size_t size, net::tcp_info& out) noexcept;

}  // namespace detail
}}  // namespace coro::v0
