// How readable() and writable() wait.
#pragma once

#include <coro/net/detail/socket.hpp>

namespace coro { inline namespace v0 { namespace detail {

class [[nodiscard("co_await it")]] CORO_EXPORT readiness_awaiter final
    : public io_awaiter<readiness_awaiter> {
public:
    readiness_awaiter(opcode what, int descriptor) noexcept
        : io_awaiter(what, {}), descriptor_(descriptor) {}

    bool start() noexcept;
    void finish() const;
    [[noreturn]] void throw_cancelled() const;
    void describe(text_sink& out) const noexcept override;

private:
    int descriptor_;
};

}}}  // namespace coro::v0::detail
