// How a connection whose descriptor another loop gave away becomes a stream here.
#pragma once

#include <coro/net/tcp.hpp>

#include "net/io_failure.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

struct stream_access {
    /// Takes `descriptor` over, also when it throws. Throws: io_error (not_enough_memory).
    static net::tcp_stream adopt(int descriptor) {
        detail::poller& poller = scheduler_of(*current).poller();
        detail::handle handle;
        if (const int result = poller.adopt(descriptor, handle); result != 0) {
            poller.discard(descriptor);
            throw io_error(error_of(result), "adopt");
        }
        return net::tcp_stream({current, handle});
    }
};

}}}  // namespace coro::v0::detail
