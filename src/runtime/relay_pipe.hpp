// A part of the waist: a pipe of the kernel, through which bytes pass from one socket to another
// without being copied.
#pragma once

#include <cstddef>
#include <cstdint>

#include <coro/base/bytes.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Made by poller::open_relay(), for sockets of that poller, which outlives it. Nothing of it
/// waits. Loop, all of it.
class relay_pipe {
public:
    relay_pipe() = default;
    relay_pipe(const relay_pipe&) = delete;
    relay_pipe& operator=(const relay_pipe&) = delete;
    virtual ~relay_pipe() = default;

    /// Takes what has come at `from`: `most` bytes and most_bytes_at_once at most. Returns their
    /// number; 0 at the end of the stream; -EAGAIN when nothing has come; or why not, as a receive:
    /// result_busy when one is pending. -EINVAL, -EOPNOTSUPP: this socket cannot be spliced.
    /// Requires: it holds nothing.
    virtual std::int32_t take(detail::handle from, std::size_t most) noexcept = 0;
    /// Sends of what it holds as much as there is room for at `to`. Returns the number of bytes;
    /// -EAGAIN without room; or why not, as a send: no SIGPIPE, and result_busy when one is
    /// pending. Requires: it holds something.
    virtual std::int32_t give(detail::handle to) noexcept = 0;
    /// Copies out of what it holds, from the front. Returns the number of bytes, or a negated
    /// errno. Requires: it holds something.
    virtual std::int32_t read(mutable_bytes into) noexcept = 0;

    /// Bytes that were taken, and neither sent nor read.
    [[nodiscard]] std::size_t held() const noexcept { return held_; }

protected:
    std::size_t held_ = 0;
};

}}}  // namespace coro::v0::detail
