// For code that writes by requests of its own.
#pragma once

#include <coro/net/buffered_writer.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// For what writes by requests of its own, and for the owner of a writer.
struct buffered_writer_access {
    static buffered_write write(net::buffered_writer& to, const write_request& request) noexcept {
        return {to.state(), request};
    }
    static bool is_idle(const net::buffered_writer& of) noexcept { return of.is_idle(); }
};

}}}  // namespace coro::v0::detail
