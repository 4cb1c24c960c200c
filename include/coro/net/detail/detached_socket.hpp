// A socket on its way between two loops: what a detached_stream of any type holds.
#pragma once

#include <coro/net/detail/socket.hpp>
#include <coro/runtime/detail/detached.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A socket that no poller has, as streams see it.
class CORO_EXPORT detached_socket {
public:
    /// Takes the socket of `from`. Throws: io_error; then `from` is as before.
    explicit detached_socket(owned_socket& from);
    detached_socket(detached_socket&&) noexcept = default;
    detached_socket& operator=(detached_socket&&) noexcept = default;
    ~detached_socket();

    [[nodiscard]] bool holds() const noexcept { return static_cast<bool>(moved_); }
    /// Of the running loop. Throws: io_error; then it is closed.
    [[nodiscard]] socket_ref attach();

private:
    detached moved_;
};

}}}  // namespace coro::v0::detail
