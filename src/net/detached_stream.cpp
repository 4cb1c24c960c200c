// A socket leaves the poller of one loop and enters that of another.
#include <coro/net/detached_stream.hpp>

#include <array>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include <coro/base/detail/assert.hpp>

#include "net/idle_watch.hpp"
#include "net/io_failure.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

detached_socket::detached_socket(owned_socket& from) : descriptor_(-1) {
    const socket_ref socket = from.ref();
    if (!socket.handle) throw io_error(errc::closed, "detach");
    check_home(socket);
    std::array<char, net::endpoint::text_capacity> peer;
    if (socket.handle.is_transport())
        throw io_error(std::make_error_code(std::errc::not_supported), "detach",
                       peer_text(socket, peer));
    detail::poller& poller = scheduler_of(*current).poller();
    if (const socket_notes* notes = poller.notes(socket.handle)) {
        broken_ = notes->broken;
        reset_failed_ = notes->reset_failed;
        idle_ = notes->idle;
    }
    const int result = poller.release(socket.handle, descriptor_);
    if (result == -EBUSY) throw io_error(errc::busy, "detach", peer_text(socket, peer));
    if (result != 0) throw io_error(error_of(result), "detach", peer_text(socket, peer));
    static_cast<void>(from.release());
}

detached_socket& detached_socket::operator=(detached_socket&& other) noexcept {
    if (this == &other) return *this;
    this->~detached_socket();
    return *::new (this) detached_socket(std::move(other));
}

detached_socket::~detached_socket() {
    if (descriptor_ < 0) return;
    CORO_ASSERT(current != nullptr, "a detached_stream was destroyed outside of run()");
    scheduler_of(*current).poller().discard(descriptor_);
}

socket_ref detached_socket::attach() {
    const int descriptor = std::exchange(descriptor_, -1);
    if (descriptor < 0) throw io_error(errc::closed, "attach");
    scheduler& here = scheduler_of(*current);
    detail::handle handle;
    if (const int result = here.poller().adopt(descriptor, handle); result != 0) {
        here.poller().discard(descriptor);
        throw io_error(error_of(result), "attach");
    }
    owned_socket made({&here, handle});
    if (idle_ != duration::max() && !watch_moved_stream(here, handle, idle_))
        throw io_error(std::make_error_code(std::errc::not_enough_memory), "attach");
    *here.poller().notes(handle) = {broken_, idle_, reset_failed_};
    return {&here, made.release()};
}

}}}  // namespace coro::v0::detail
