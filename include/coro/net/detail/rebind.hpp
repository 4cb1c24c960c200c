// How a connection moves from one loop of a run to another.
#pragma once

#include <string>

#include <coro/base/detail/assert.hpp>
#include <coro/core/detail/awaitable.hpp>
#include <coro/net/detail/socket.hpp>
#include <coro/runtime/detail/detached.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The old loop lets go of the connection, the new one takes it in: a message there and one back.
/// Cannot be cancelled: that takes two turns, and a connection in between would belong to nobody.
class [[nodiscard("co_await it")]] rebind_awaiter final : public wait_point,
                                                          public awaiter_face<rebind_awaiter> {
public:
    explicit rebind_awaiter(owned_socket& socket) noexcept : socket_(socket) {}

    void bind(detail::strand& strand) noexcept {
        CORO_ASSERT(strand_ == nullptr, awaited_twice);
        strand_ = &strand;
    }
    bool await_ready() noexcept {
        if (!socket_) result_ = result_closed;
        return !socket_ || is_here(socket_.ref().loop);
    }
    CORO_EXPORT bool suspend(frame_link* parent, std::coroutine_handle<> resume) noexcept;
    CORO_EXPORT void await_resume() const;

    void cancel_wait() noexcept override {}
    void describe(text_sink& out) const noexcept override { out.write("rebind"); }

private:
    using message = message_of<rebind_awaiter>;
    void leave() noexcept;
    void arrive() noexcept;

    owned_socket& socket_;
    socket_ref from_;
    detail::strand* strand_ = nullptr;
    message message_;
    detached moved_;
    std::string peer_;  ///< for the error; only the old loop knows it
    int result_ = 0;
};

}}}  // namespace coro::v0::detail
