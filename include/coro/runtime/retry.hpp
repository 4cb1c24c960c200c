// retry, and the pauses between attempts.
#pragma once

#include <chrono>
#include <cstddef>
#include <type_traits>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/error.hpp>
#include <coro/base/time.hpp>
#include <coro/core/detail/callable.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/sleep.hpp>

namespace coro { inline namespace v0 {

struct backoff_options {
    time_span first = std::chrono::milliseconds(100);
    time_span longest = std::chrono::seconds(10);
    double factor = 2;    ///< from one pause to the next; at least 1
    double jitter = 0.5;  ///< the part of each that is drawn at random, 0 to 1: many do not come
                          ///< back at the same moment
};

/// The pauses between attempts at something that fails: each longer than the last, up to a longest
/// one, and each less a random part.
class backoff {
public:
    /// Requires: factor >= 1, 0 <= jitter <= 1, no span below 0 (aborts).
    CORO_EXPORT explicit backoff(const backoff_options& options = {}) noexcept;

    /// Returns the pause before the next attempt. Requires: called inside of run().
    [[nodiscard]] CORO_EXPORT duration next() noexcept;
    /// After a success: the next pause is the first one again.
    void reset() noexcept { pause_ = options_.first; }

private:
    backoff_options options_;
    duration pause_;
};

/// Whether an io_error is worth another attempt: the default of retry.
struct any_io_error {
    bool operator()(const io_error&) const noexcept { return true; }
};

struct retry_options {
    std::size_t attempts = 5;  ///< in all; at least 1
    backoff_options pauses = {};
};

namespace detail {

template <typename Body, typename Worth>
task<body_value<Body>> retry_coroutine(Body body, retry_options options, Worth is_worth) {
    backoff pauses(options.pauses);
    for (std::size_t left = options.attempts;; --left) {
        try {
            if constexpr (std::is_void_v<body_value<Body>>) {
                co_await call_body(body);
                co_return;
            } else {
                co_return co_await call_body(body);
            }
        } catch (const io_error& error) {
            if (left <= 1 || !is_worth(error)) throw;
        }
        co_await sleep_for(pauses.next());
    }
}

}  // namespace detail

/// Returns what `body` returns, a callable that makes a task for each attempt: of the first one
/// that does not fail with an io_error. Another exception is not worth an attempt, nor is an error
/// of which `is_worth` says so. An enclosing deadline ends it, wherever it is; one around each
/// attempt belongs into the body:
///     const auto connect = [&]() -> task<net::tcp_stream> {
///         co_return co_await with_timeout(1s, net::tcp_stream::connect(where));
///     };
///     auto peer = co_await retry(connect);
/// Suspends while an attempt does, and for the pauses between two; resumes on this loop.
/// Requires: options.attempts >= 1 (aborts).
/// Throws: what the last attempt threw; cancelled. Cancel safety: that of the body.
template <typename Body, typename Worth = any_io_error>
[[nodiscard("co_await it or spawn it")]] auto retry(Body&& body, retry_options options = {},
                                                    Worth is_worth = {}) {
    CORO_ASSERT(options.attempts > 0, "retry was given 0 attempts");
    detail::check_body_callable<Body>();
    if constexpr (detail::check_body_task<Body>())
        return detail::retry_coroutine<std::decay_t<Body>, Worth>(std::forward<Body>(body), options,
                                                                  std::move(is_worth));
}

}}  // namespace coro::v0
