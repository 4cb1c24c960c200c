#include "net/adopt.hpp"

#include <array>
#include <cerrno>
#include <string_view>

#include <coro/runtime/detail/this_strand.hpp>

#include "net/io_failure.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

socket_ref adopt_stream(int descriptor, address_family family) {
    loop& here = this_loop();
    detail::poller& poller = scheduler_of(here).poller();
    detail::handle made;
    int result = poller.check_stream(descriptor, family);
    if (result == 0) result = poller.adopt(descriptor, made);
    if (result != 0) throw io_error(error_of(result), "adopt");
    return {&here, made};
}

int release_stream(owned_socket& socket) {
    const socket_ref from = socket.ref();
    int descriptor = -1;
    const int result = from.handle ? poller_of(from).release(from.handle, descriptor)
                                   : std::int32_t{result_closed};
    if (result != 0) {
        std::array<char, name_capacity> peer;
        throw io_error(result == -EBUSY ? make_error_code(errc::busy) : error_of(result),
                       "release", from.handle ? peer_text(from, peer) : std::string_view());
    }
    static_cast<void>(socket.release());
    return descriptor;
}

}}}  // namespace coro::v0::detail
