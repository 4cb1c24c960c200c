// The kernel's list of all TCP sockets of a network namespace. It belongs to no loop.
#pragma once

#include <cstdint>

#include <coro/base/time.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace net {
struct tcp_info;
}}}

namespace coro { inline namespace v0 { namespace detail {

struct socket_record {
    socket_address local;
    socket_address remote;
    std::uint8_t state = 0;  ///< as net::tcp_state counts
    std::uint32_t uid = 0;
    std::uint64_t inode = 0;
    std::uint32_t receive_queue = 0;
    std::uint32_t send_queue = 0;
    bool ends = false;       ///< in TIME_WAIT, or closed by its program in FIN_WAIT_2
    duration ends_in{};
    const net::tcp_info* info = nullptr;  ///< if it was asked for, and there is one
};

class socket_visitor {
public:
    virtual void see(const socket_record& each) = 0;

protected:
    ~socket_visitor() = default;
};

/// Shows `to` each TCP socket of the network namespace of this thread whose state is one of the
/// bits `states`. Blocks for as long as the kernel needs. 0, or a negated errno: then `to` may have
/// seen a part. Throws what `to` throws, std::bad_alloc. Any thread.
int visit_tcp_sockets(std::uint32_t states, bool with_info, socket_visitor& to);

}}}  // namespace coro::v0::detail
