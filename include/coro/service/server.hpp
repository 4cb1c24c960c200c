// serve: accepts connections and runs a handler for each, within limits, until told to stop.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/task.hpp>
#include <coro/net/listener.hpp>
#include <coro/service/detail/served.hpp>
#include <coro/service/server_control.hpp>

namespace coro { inline namespace v0 {

/// Bounds of a server. All are on by default. A span of zero or less is reached at once,
/// `duration::max()` or any span as great is no limit (base/time.hpp).
struct server_limits {
    /// Connections at once. At the cap serve stops accepting: clients wait in the kernel's queue,
    /// all of them, and cost no descriptor.
    std::size_t connections = 10'000;
    /// Connections at once of one client: an IPv4 address, or a /64 of IPv6 (endpoint::network).
    /// One more is turned away as at the cap, with the `refusal` if there is one, else by a reset.
    /// Only where the listener's streams have a remote_endpoint(), as those of TCP do.
    std::size_t per_address = 256;
    /// Also of the loopback addresses, 127.0.0.0/8 and ::1, as of a proxy that comes that way.
    bool limit_loopback = false;
    /// The guardian's limits, as net::guardian_limits tells each. It ends a connection by shutting
    /// both directions down: the handler reads the end of the stream. `header` and `minimum_rate`
    /// count while the handler says so (net::guarded).
    time_span first_byte = net::guardian_limits{}.first_byte;
    time_span header = net::guardian_limits{}.header;
    time_span idle = net::guardian_limits{}.idle;
    time_span total = net::guardian_limits{}.total;
    std::size_t minimum_rate = net::guardian_limits{}.minimum_rate;
    time_span rate_grace = net::guardian_limits{}.rate_grace;
    time_span half_closed = net::guardian_limits{}.half_closed;
    bool end_half_closed = net::guardian_limits{}.end_half_closed;
    /// When descriptors or memory run out, connections that were silent for longest make room: an
    /// eighth of `idle` at least, so many at a time, of the listener's loop first. 0: none does,
    /// and the newcomer is turned away. So it is while those that were told to have not ended.
    std::size_t evictions = 8;
    /// After a stop was requested handlers may finish for so long; then they are cancelled.
    time_span drain = std::chrono::seconds(10);
    /// The second cap: so many are refused at once, beside `connections`; a client beyond it waits
    /// in the kernel's queue. One takes until the client has closed its end, two seconds at most.
    /// Counts only with serve_options::refusal.
    std::size_t refusals = 100;
};

/// The choices of a server, and its limits.
struct serve_options {
    server_limits limits{};
    /// In a run of several loops: hand each connection to the loop that has the fewest. With false
    /// all stay on the loop of the listener, as for one listener a loop
    /// (listen_options::reuse_port). Those that cannot move stay too: streams over a transport.
    bool spread = true;
    /// A handler that ends with an exception has not finished. Its connection ends by a reset,
    /// which no client takes for a clean end, and unsent bytes are thrown away. So does a stream
    /// that the handler has moved elsewhere, if an exception destroys it there. One that is closed
    /// before, by close(), is not reset. One that is cancelled because the drain is over, or by
    /// until_stop, is reset only if a message was cut (stream::is_broken). With false all are
    /// closed in order.
    bool reset_failed = true;
    /// Pauses and resumes accepting, and shows counts. Requires: outlives the await.
    server_control* control = nullptr;
    /// The bytes for a client that comes at the cap, as "-ERR max number of clients\r\n", or a
    /// response 503. The server then ends its connection in order. The handler is not asked. Empty:
    /// nobody is refused, clients wait. Requires: outlives the await.
    std::string_view refusal{};
};

static_assert(std::is_trivially_destructible_v<serve_options>);

namespace detail {

[[nodiscard("co_await it")]] CORO_EXPORT task<> serve_connections(served& what,
                                                                  serve_options options);

template <typename Listener, typename Handler>
task<> serve_coroutine(Listener& listener, Handler handler, serve_options options) {
    using plain = std::remove_reference_t<std::unwrap_reference_t<Handler>>;  // may be const
    served_types<Listener, plain> what(listener, handler);
    co_await serve_connections(what, options);
}

}  // namespace detail

/// Returns nothing. Accepts streams from `listener`, a tcp_listener, a local_listener or any other
/// net::listener, and runs `handler(stream)` for each as a task of its own; or
/// `handler(stream, net::guarded)`, if it takes that. It does so until a stop
/// is requested (run's first signal, cancel_scope::request_stop) or it is cancelled. On stop it
/// takes the connections that wait already, as far as there is room below the cap. It closes the
/// listener, and the kernel resets those that still waited. It lets handlers finish for
/// limits.drain, tells the report hook where those wait that have not (eight of each loop), cancels
/// them, and returns when all have ended. A handler's exception ends its
/// connection by a reset (options.reset_failed), is told to the report hook with the peer, and the
/// server goes on. In a run of several loops the handlers run on all of them (options.spread), each
/// on one. Several threads then call `handler` at once. `handler` is kept to the end and may
/// capture. A cap above half the limit of open files is reported as a warning with the remedy.
/// Requires: `listener` outlives the await.
/// Suspends for the life of the server; resumes on this loop.
/// Throws: io_error (what the listener meets beyond what accept() survives; errc::closed when it is
/// closed by others); cancelled, after all handlers have ended.
/// Cancel safety: connections end as their handlers do.
template <net::listener Listener, typename Handler>
    requires detail::handler_of<std::unwrap_reference_t<std::decay_t<Handler>>,
                                typename Listener::stream>
[[nodiscard("co_await it or spawn it")]] task<> serve(Listener& listener, Handler&& handler,
                                                      serve_options options = {}) {
    detail::check_body_callable<Handler>();
    using call = detail::handler_call<std::unwrap_reference_t<std::decay_t<Handler>>,
                                      typename Listener::stream>;
    static_assert(std::is_same_v<typename call::type, task<>>,
                  "coro: a handler of serve returns a task<>: a lambda that waits says "
                  "-> coro::task<> and has a co_await or co_return");
    return detail::serve_coroutine<Listener, std::decay_t<Handler>>(
        listener, std::forward<Handler>(handler), options);
}

}}  // namespace coro::v0
