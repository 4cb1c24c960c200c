// An error is compared with what it may be, as it is written in a catch block.
#include <coro/coro.hpp>

bool is_harmless(const coro::io_error& error) {
    if (error == coro::errc::deadline_exceeded || coro::errc::closed == error) return true;
    if (error != std::errc::connection_reset && std::errc::broken_pipe != error) return false;
    const std::error_code code = error.code();
    return error == code && code == error && error == code.default_error_condition() &&
           code == coro::errc::busy && code == std::errc::timed_out;
}

coro::task<bool> refused(coro::net::endpoint where) {
    auto stream = co_await coro::as_result(coro::net::tcp_stream::connect(where));
    if (stream.has_value()) co_return false;
    co_return stream.error() == std::errc::connection_refused ||
        stream.error() == coro::errc::deadline_exceeded;
}

template <typename Left, typename Right>
concept comparable = requires(const Left& left, const Right& right) { left == right; };
static_assert(!comparable<coro::io_error, int>);
static_assert(!comparable<coro::io_error, bool>);
