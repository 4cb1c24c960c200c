// How local_stream::connect waits.
#pragma once

#include <coro/net/local.hpp>

namespace coro { inline namespace v0 { namespace detail {

extern template class accept_awaiter<net::local_stream>;

class [[nodiscard("co_await it")]] CORO_EXPORT local_connect_awaiter final
    : public io_awaiter<local_connect_awaiter> {
public:
    explicit local_connect_awaiter(const net::local_address& to) noexcept
        : io_awaiter(opcode::connect, {}), address_(to_socket_address(to)) {}

    bool start() noexcept;
    net::local_stream finish();
    [[noreturn]] void throw_cancelled() const;
    void describe(text_sink& out) const noexcept override;

private:
    socket_address address_;
    owned_socket socket_;
};

}}}  // namespace coro::v0::detail
