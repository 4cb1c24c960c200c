// What a shared connection is told, and what it tells: shared_connection_options, and its counters.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <coro/base/time.hpp>

namespace coro { inline namespace v0 {

/// The choices of a shared connection. All bounds are on by default. For spans see base/time.hpp:
/// `duration::max()` means no limit. A number without a limit is spelled SIZE_MAX.
struct shared_connection_options {
    /// Requests that are sent and have no reply yet, at most; also those whose callers have gone.
    /// Requires: at least 1.
    std::size_t max_pipelined = 1'024;
    /// Requests that wait to be sent, at most: for room, or for a connection. They are sent first
    /// come, first served. The next one is refused (errc::limit_exceeded). Requires: at least 1.
    std::size_t max_waiters = 10'000;
    /// The most unread bytes that are held: the longest line or record that a codec can ask for.
    /// Requires: at least 1.
    std::size_t read_limit = 64 * 1024;

    /// The longest that one connect may take.
    time_span connect_timeout = std::chrono::seconds(5);
    /// The longest wait for the next whole reply, while one is due; a long request or reply needs
    /// its time too. Then the connection is given up, as late as an eighth after that.
    time_span reply_timeout = std::chrono::seconds(30);
    /// After so many connections in a row that brought no reply, all that wait fail with the
    /// cause. From then on a request fails at once during each pause. After a pause the next
    /// request makes one more attempt, and shares its fate. Requires: at least 1.
    std::size_t breaker_threshold = 3;
    /// The pause after the first such connection. It doubles with each further one up to
    /// retry_most. Two attempts never begin closer together than retry_first.
    time_span retry_first = std::chrono::milliseconds(500);
    time_span retry_most = std::chrono::seconds(2);
    /// At the end of the body, requests that are under way may take so long.
    time_span drain = std::chrono::seconds(10);
};

static_assert(std::is_trivially_destructible_v<shared_connection_options>);

/// Counters of a shared connection, since it was made.
struct shared_connection_stats {
    std::uint64_t requests = 0;     ///< handed to the sender
    std::uint64_t replies = 0;      ///< read
    std::uint64_t dropped = 0;      ///< replies among them whose callers had gone
    std::uint64_t writes = 0;       ///< batches of requests, each sent as one
    std::uint64_t attempts = 0;     ///< connects that were begun
    std::uint64_t connections = 0;  ///< connects that succeeded
    std::size_t waiting = 0;        ///< requests that wait to be sent, now
    std::size_t pipelined = 0;      ///< requests that are sent and have no reply yet, now
    bool connected = false;         ///< whether there is a connection now
};

}}  // namespace coro::v0
