// listener: what accepts streams, as serve asks for it.
#pragma once

#include <concepts>
#include <optional>

#include <coro/core/detail/hold.hpp>
#include <coro/core/task.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace net {

/// A type that accepts streams: tcp_listener, local_listener, and any type of your own. It has
///   stream       the type of what it accepts: net::stream, or a class derived from it
///   accept()     returns a task or an operation that yields the next stream. On `cancelled` no
///                connection was taken. It must not wait for what a client sends: a transport
///                shakes hands in its first transfer.
///   close()      noexcept: no more connections come
template <typename Listener>
concept listener =
    std::derived_from<typename Listener::stream, stream> &&
    std::move_constructible<typename Listener::stream> && requires(Listener& it) {
        { it.close() } noexcept;
        requires std::same_as<detail::await_result<decltype(it.accept())>,
                              typename Listener::stream>;
    };

/// A listener that also tells, by `task<std::optional<stream>> accept_if_waiting()`, which
/// connections wait already, and by `bool close_if_idle() noexcept` closes itself if none does. Of
/// these serve takes at a stop every client that waits.
template <typename Listener>
concept draining_listener = listener<Listener> && requires(Listener& it) {
    { it.accept_if_waiting() } -> std::same_as<task<std::optional<typename Listener::stream>>>;
    { it.close_if_idle() } noexcept -> std::same_as<bool>;
};

}}}  // namespace coro::v0::net
