// readable and writable: waiting for a descriptor that the program or a foreign library owns.
#pragma once

#include <coro/net/detail/readiness_awaiter.hpp>

namespace coro { inline namespace v0 {

/// Returns nothing. A read(2) of `descriptor` would not wait: there are bytes, or an end, or an
/// error.
/// Takes what poll(2) takes: pipes, terminals, foreign sockets, eventfd(2), timerfd_create(2),
/// inotify(7), pidfd_open(2). A regular file is ready at once, as poll(2) says.
/// It is for client libraries that read by themselves. Another reader may take the bytes before
/// this task runs, so let the read be non-blocking. Several tasks may wait for one descriptor; all
/// of them go on.
/// Requires: `descriptor` stays open until the wait has ended. Then nothing of this library refers
/// to it, also after an error or a cancellation: close it or let its library replace it.
/// Suspends until it is ready; resumes on this loop.
/// Throws: io_error (bad_file_descriptor; not_enough_memory, too_many_files_open and
/// no_space_on_device, as epoll_ctl(2) has them; not_supported in a simulation);
/// cancelled. Cancel safety: nothing is ever taken from the descriptor.
/// Costs an fcntl(2) and: io_uring one request; epoll a poll(2) and, where that finds nothing, two
/// epoll_ctl(2). A second wait for the same descriptor at a time takes a duplicate on epoll.
/// See: poll(2); epoll(7).
[[nodiscard("co_await it")]] inline detail::readiness_awaiter readable(int descriptor) noexcept {
    return {detail::opcode::poll_receive, descriptor};
}

/// Returns nothing. A write(2) to `descriptor` would not wait: there is room, or an error.
/// Otherwise as readable().
[[nodiscard("co_await it")]] inline detail::readiness_awaiter writable(int descriptor) noexcept {
    return {detail::opcode::poll_send, descriptor};
}

}}  // namespace coro::v0
