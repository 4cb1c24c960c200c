// A socket leaves the poller of one loop and enters that of another.
#include <coro/net/detached_stream.hpp>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include <coro/base/detail/assert.hpp>

#include "net/idle_watch.hpp"
#include "net/io_failure.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

detached_socket::detached_socket(owned_socket& from) {
    const socket_ref socket = from.ref();
    if (!socket.handle) throw io_error(errc::closed, "detach");
    check_home(socket);
    std::array<char, name_capacity> peer;
    if (socket.handle.is_transport())
        throw io_error(std::make_error_code(std::errc::not_supported), "detach",
                       peer_text(socket, peer));
    const int result = scheduler_of(*current).poller().detach(socket.handle, moved_);
    if (result == -EBUSY) throw io_error(errc::busy, "detach", peer_text(socket, peer));
    if (result != 0) throw io_error(error_of(result), "detach", peer_text(socket, peer));
    static_cast<void>(from.release());
}

detached_socket::~detached_socket() {
    CORO_ASSERT(!moved_ || current != nullptr, "a detached_stream was destroyed outside of run()");
    if (moved_ && ends_by_reset(moved_.notes)) moved_.drop_by_reset();
}

socket_ref detached_socket::attach() {
    if (!moved_) throw io_error(errc::closed, "attach");
    detached moving = std::move(moved_);  // closed when it is not attached
    const duration idle = moving.notes.idle;
    scheduler& here = scheduler_of(*current);
    detail::handle handle;
    if (const int result = here.poller().attach(std::move(moving), handle); result != 0)
        throw io_error(error_of(result), "attach");
    owned_socket made({&here, handle});
    if (idle != duration::max() && !watch_moved_stream(here, handle, idle))
        throw io_error(std::make_error_code(std::errc::not_enough_memory), "attach");
    return {&here, made.release()};
}

}}}  // namespace coro::v0::detail
