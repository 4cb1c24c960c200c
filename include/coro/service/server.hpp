// serve: accepts connections and runs a handler for each, within limits, until told to stop.
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include <coro/core/task.hpp>
#include <coro/net/tcp.hpp>
#include <coro/runtime/task_group.hpp>

namespace coro { inline namespace v0 {

/// Bounds of a server. All are on by default. A span of zero or less is reached at once,
/// `duration::max()` or any span as great is no limit (base/time.hpp).
struct serve_options {
    /// Connections at once. At the cap serve stops accepting: clients wait in the kernel's queue,
    /// all of them, and cost no descriptor.
    std::size_t connections = 10'000;
    /// A connection on which no byte has moved for so long is ended: both directions are shut down,
    /// the handler reads the end of the stream. Moved is what the kernel counts: bytes that have
    /// come, read or not, and bytes that the peer's system has acknowledged. Ended after this span
    /// at least, and an eighth of it later at most, if the loop is not late itself.
    time_span idle = std::chrono::seconds(60);
    /// After a stop was requested handlers may finish for so long; then they are cancelled.
    time_span drain = std::chrono::seconds(10);
    /// In a run of several loops: hand each connection to the loop that has the fewest. false: all
    /// stay on the loop of the listener, as for one listener a loop (listen_options::reuse_port).
    bool spread = true;
    /// A handler that ends with an exception has not finished: its connection ends by a reset,
    /// which no client takes for a clean end, and what is unsent is thrown away. So does a stream
    /// that the handler has moved elsewhere, if an exception destroys it there. One that is closed
    /// before, by close(), is not reset. One that is cancelled because the drain is over, or by
    /// until_stop, is only if a message was cut (tcp_stream::is_broken). false: all are closed in
    /// order.
    bool reset_failed = true;
    /// Said at the cap to who comes next, whose connection is then ended in order: "-ERR max number
    /// of clients\r\n", or a response 503. The handler is not asked. Empty: nobody is refused,
    /// clients wait. Requires: outlives the await.
    std::string_view refusal{};
    /// The second cap: so many are refused at once, beside `connections`; who comes beyond it waits
    /// in the kernel's queue. One takes until the client has closed its end, two seconds at most.
    std::size_t refusals = 100;
};

static_assert(std::is_trivially_destructible_v<serve_options>);

namespace detail {

using handler_call = task<> (*)(void* handler, net::tcp_stream&& stream);

[[nodiscard("co_await it")]] CORO_EXPORT task<> serve_connections(net::tcp_listener& listener,
                                                                  serve_options limits,
                                                                  handler_call call,
                                                                  void* handler);

template <typename Handler>
task<> call_handler(void* handler, net::tcp_stream&& stream) {
    return (*static_cast<Handler*>(handler))(std::move(stream));
}

template <typename Handler>
task<> serve_coroutine(net::tcp_listener& listener, Handler handler, serve_options limits) {
    using plain = std::remove_reference_t<std::unwrap_reference_t<Handler>>;  // may be const
    const void* const called = std::addressof(static_cast<plain&>(handler));
    co_await serve_connections(listener, limits, &call_handler<plain>, const_cast<void*>(called));
}

}  // namespace detail

/// Returns nothing. Accepts connections from `listener` and runs `handler(tcp_stream)` for each as
/// a task of its own, until a stop is requested (run's first signal, cancel_scope::request_stop) or
/// it is cancelled. On stop it takes the connections that wait already, as far as there is room
/// below the cap, closes the listener (the kernel resets those that still waited), lets handlers
/// finish for limits.drain, cancels the rest, and returns when all have ended. A handler's
/// exception ends its connection by a reset (limits.reset_failed), is told to the report hook with
/// the peer, and the server goes on.
/// In a run of several loops the handlers run on all of them (limits.spread), each on one:
/// `handler` is then called by several threads at once. `handler` is kept to the end and may
/// capture. A cap above half the limit of open files is reported as a warning with the remedy.
/// Requires: `listener` outlives the await.
/// Suspends for the life of the server; resumes on this loop.
/// Throws: io_error (what the listener meets beyond what accept() survives; errc::closed when it is
/// closed by others); cancelled, after all handlers have ended.
/// Cancel safety: connections end as their handlers do.
template <typename Handler>
    requires std::invocable<std::unwrap_reference_t<std::decay_t<Handler>>&, net::tcp_stream>
[[nodiscard("co_await it or spawn it")]] task<> serve(net::tcp_listener& listener,
                                                      Handler&& handler,
                                                      serve_options limits = {}) {
    detail::check_body_callable<Handler>();
    static_assert(std::is_same_v<std::invoke_result_t<
                                     std::unwrap_reference_t<std::decay_t<Handler>>&,
                                     net::tcp_stream>,
                                 task<>>,
                  "coro: a handler of serve returns a task<>: a lambda that waits says "
                  "-> coro::task<> and has a co_await or co_return");
    return detail::serve_coroutine<std::decay_t<Handler>>(listener, std::forward<Handler>(handler),
                                                          limits);
}

}}  // namespace coro::v0
