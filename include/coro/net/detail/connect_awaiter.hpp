// How tcp_stream::connect waits.
#pragma once

#include <coro/net/tcp.hpp>

namespace coro { inline namespace v0 { namespace detail {

extern template class accept_awaiter<net::tcp_stream>;

class [[nodiscard("co_await it")]] CORO_EXPORT connect_awaiter final
    : public io_awaiter<connect_awaiter> {
public:
    connect_awaiter(net::endpoint to, const net::connect_options& options) noexcept
        : io_awaiter(opcode::connect, {}), to_(to), options_(options) {
        advance = [](operation& op) noexcept { return static_cast<connect_awaiter&>(op).go_on(); };
    }

    bool start() noexcept;
    net::tcp_stream finish();
    [[noreturn]] void throw_cancelled() const;
    void describe(text_sink& out) const noexcept override;

private:
    bool ask() noexcept;
    bool go_on() noexcept;
    bool met_itself() noexcept;

    net::endpoint to_;
    net::connect_options options_;
    socket_address address_;
    owned_socket socket_;
    const char* failed_verb_ = nullptr;  ///< an option or the local bind was refused
    std::uint8_t met_itself_ = 0;        ///< attempts that connected to themselves
};

}}}  // namespace coro::v0::detail
