// The interfaces between serve, its listener and its handler.
#pragma once

#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/task.hpp>
#include <coro/net/address.hpp>
#include <coro/net/detached_stream.hpp>
#include <coro/net/guardian.hpp>
#include <coro/net/listener.hpp>
#include <coro/net/tcp.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/task_group.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A connection on its way to another loop.
class arrival {
public:
    virtual ~arrival() = default;
    /// On that loop: it is there, or could not be.
    virtual void arrived(net::stream& stream) noexcept = 0;
    virtual void lost(const std::exception_ptr& error) noexcept = 0;
};

/// The face of serve to its listener.
class acceptor {
public:
    /// Whether one more connection may be accepted, be it to serve it or to refuse it.
    virtual bool has_room() noexcept = 0;
    /// Waits until that is so.
    virtual task<> room() = 0;
    /// Whether one more can be served.
    virtual bool has_place() noexcept = 0;
    /// Moves from `stream`.
    virtual void accepted(net::stream& stream) noexcept = 0;

protected:
    ~acceptor() = default;
};

/// The part of serve that knows the types of its listener and its handler.
class served {
public:
    /// Accepts until it is cancelled.
    virtual task<> accept_all(acceptor& by) = 0;
    /// Accepts those that wait already, and closes the listener.
    virtual task<> accept_if_waiting(acceptor& by) = 0;
    /// Calls the handler, which takes `stream`, and `guard` if it has a second parameter.
    virtual task<> call(net::stream& stream, net::guarded&& guard) = 0;
    /// The peer's address, where `stream` has one of IP.
    virtual std::optional<net::endpoint> endpoint_of(const net::stream& stream) const noexcept = 0;
    /// Whether `stream` is of a kind that can go to another loop.
    virtual bool can_move(const net::stream& stream) const noexcept = 0;
    /// Takes it there, and owns `as` then. Requires: can_move(stream). Throws; then `as` is still
    /// the caller's, and `stream` is as it was, or is closed and without a connection.
    virtual void move_to(const loop_handle& loop, net::stream& stream, arrival& as) = 0;

protected:
    ~served() = default;
};

/// Connections taken after a stop was requested: net.core.somaxconn bounds the queue of a listener,
/// 4096 since Linux 5.4 (listen(2)).
inline constexpr unsigned most_waiting = 4096;

template <typename Handler, typename Stream>
concept handler_of =
    std::invocable<Handler&, Stream> || std::invocable<Handler&, Stream, net::guarded>;

template <typename Handler, typename Stream>
struct handler_call : std::invoke_result<Handler&, Stream> {};
template <typename Handler, typename Stream>
    requires std::invocable<Handler&, Stream, net::guarded>
struct handler_call<Handler, Stream> : std::invoke_result<Handler&, Stream, net::guarded> {};
template <typename Listener, typename Handler>
class served_types final : public served {
    using stream = typename Listener::stream;

public:
    served_types(Listener& listener, Handler& handler) noexcept
        : listener_(listener), handler_(handler) {}

    task<> accept_all(acceptor& by) override {
        for (;;) {
            if (!by.has_room()) co_await by.room();
            stream next = co_await listener_.accept();
            by.accepted(next);
        }
    }
    task<> accept_if_waiting([[maybe_unused]] acceptor& by) override {
        if constexpr (net::draining_listener<Listener>) {
            // Those that wait already, and not those that go on coming: no queue is longer.
            for (unsigned taken = 0; taken < most_waiting && by.has_place(); ++taken) {
                std::optional<stream> next = co_await listener_.accept_if_waiting();
                if (next) by.accepted(*next);
                else if (listener_.close_if_idle()) break;
            }
        }
        listener_.close();
        co_return;
    }
    task<> call(net::stream& of, [[maybe_unused]] net::guarded&& guard) override {
        task<> child = [&] {
            if constexpr (std::invocable<Handler&, stream, net::guarded>)
                return handler_(std::move(static_cast<stream&>(of)), std::move(guard));
            else
                return handler_(std::move(static_cast<stream&>(of)));
        }();
        check_startable(child, "a handler of serve returned a task that was moved from",
                        "a handler of serve returned a task that had been started before");
        return child;
    }
    std::optional<net::endpoint> endpoint_of(
        [[maybe_unused]] const net::stream& of) const noexcept override {
        if constexpr (requires(const stream& it) {
                          { it.remote_endpoint() } -> std::same_as<net::endpoint>;
                      }) {
            try {
                return static_cast<const stream&>(of).remote_endpoint();
            } catch (...) {  // it has gone already
            }
        }
        return std::nullopt;
    }
    bool can_move([[maybe_unused]] const net::stream& of) const noexcept override {
        if constexpr (net::detachable<stream>)
            return net::detached_stream<stream>::can_take(static_cast<const stream&>(of));
        else
            return false;
    }
    void move_to([[maybe_unused]] const loop_handle& loop, [[maybe_unused]] net::stream& of,
                 [[maybe_unused]] arrival& as) override {
        if constexpr (net::detachable<stream>)
            loop.post(journey{
                net::detached_stream<stream>(std::move(static_cast<stream&>(of))), &as});
    }

private:
    /// Owns `as` from the call on: a post that throws has not called it, and any other does.
    struct journey {
        void operator()() noexcept {
            const std::unique_ptr<arrival> owned(as);
            try {
                stream here = moving.attach();
                owned->arrived(here);
            } catch (...) {
                owned->lost(std::current_exception());
            }
        }
        net::detached_stream<stream> moving;
        arrival* as;
    };

    Listener& listener_;
    Handler& handler_;
};

}}}  // namespace coro::v0::detail
