// An epoll(7) set of one descriptor: it tells events apart that a poll of io_uring lumps together.
#pragma once

namespace coro { inline namespace v0 { namespace detail {

/// A descriptor of the caller's that is readable while `descriptor` has one of `events` (poll(2)),
/// an error, or a hang-up; or a negated errno.
[[nodiscard]] int make_epoll_set(int descriptor, unsigned events) noexcept;

}}}  // namespace coro::v0::detail
