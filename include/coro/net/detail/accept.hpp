// The wait for the next connection of a listener, the same for every kind of socket.
#pragma once

#include <coro/base/time.hpp>
#include <coro/net/detail/socket.hpp>
#include <coro/runtime/detail/timer.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Its bodies are in net/accept.cpp, for each kind of stream. A shared library shows them only if
/// the class of that stream is CORO_EXPORT.
template <typename Stream>
class [[nodiscard("co_await it")]] CORO_EXPORT accept_awaiter final
    : public io_awaiter<accept_awaiter<Stream>> {
public:
    /// `only_now`: do not wait for a client; finish() then returns a stream without a connection.
    accept_awaiter(socket_ref on, bool only_now) noexcept
        : io_awaiter<accept_awaiter>(only_now ? opcode::accept_if_waiting : opcode::accept, on),
          pause_(*this),
          only_now_(only_now) {
        this->advance = [](operation& op) noexcept {
            return static_cast<accept_awaiter&>(op).go_on();
        };
    }

    bool start() noexcept;
    Stream finish();
    void cancel_wait() noexcept override;

private:
    bool ask() noexcept;
    bool go_on() noexcept;
    void after_pause() noexcept;
    bool was_cancelled() const noexcept;
    void pause(duration span) noexcept;

    member_timer<&accept_awaiter::after_pause> pause_;
    unsigned skipped_ = 0;  ///< dead connections in a row
    bool only_now_;
};

}}}  // namespace coro::v0::detail
