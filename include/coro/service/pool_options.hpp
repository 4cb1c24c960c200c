// What a connection pool is told, and what it tells: pool_options, pool_stats.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <coro/base/time.hpp>

namespace coro { inline namespace v0 {

/// How a pool with several endpoints chooses the one to connect to. One is passed over in the pause
/// after a connect to it has failed.
enum class endpoint_choice : std::uint8_t {
    round_robin,  ///< each in turn
    least_used,   ///< the one with the fewest connections
};

/// The choices of a connection pool. All bounds are on by default; the names are HikariCP's where
/// that has them. For spans see base/time.hpp: `duration::max()` means no limit.
struct pool_options {
    /// Stands in errors and reports. Requires: outlives the pool (a literal).
    const char* name = "pool";

    /// Connections at most, those that are being made included.
    std::size_t max_size = 10;
    /// So many are kept idle, if max_size allows; they are made ahead. They outlive idle_timeout.
    std::size_t min_idle = 0;
    /// Tasks that may wait in acquire(), at least 1. The next is refused (errc::limit_exceeded).
    std::size_t max_waiters = 1'000;
    /// Connects at once.
    std::size_t max_connecting = 2;

    /// The longest wait in acquire(), within the deadlines of the task. Then
    /// errc::deadline_exceeded.
    time_span connection_timeout = std::chrono::seconds(30);
    /// The longest that one connect may take. It does not end with the task that needed it: the
    /// next one in the queue takes the connection.
    time_span connect_timeout = std::chrono::seconds(5);

    /// A connection that nobody has used for so long is closed, down to min_idle.
    time_span idle_timeout = std::chrono::minutes(10);
    /// A connection is closed at that age, when nobody holds it. At least 1 s.
    time_span max_lifetime = std::chrono::minutes(30);
    /// The part of max_lifetime by which ages differ, so that not all end at once: each connection
    /// lives up to so much shorter. From 0 to 1.
    double lifetime_jitter = 0.1;
    /// An idle connection is looked at so often: by validate(), where the connector has one, and
    /// whether its peer has closed it.
    time_span keepalive_time = std::chrono::minutes(2);
    /// The longest that one validate() may take; then the connection is closed.
    time_span validation_timeout = std::chrono::seconds(5);
    /// acquire() validates a connection that was idle for so long or longer.
    time_span validate_after = std::chrono::milliseconds(500);

    /// After so many failed connects in a row an endpoint is down. When all are down, acquire()
    /// fails at once with the error of the last connect, unless a connection is idle. The pool goes
    /// on trying.
    std::size_t breaker_threshold = 3;
    /// The pause after the first failed connect to an endpoint. It doubles with each further one,
    /// up to retry_most. Each is longer by up to a quarter: many pools do not come at once.
    time_span retry_first = std::chrono::seconds(1);
    time_span retry_most = std::chrono::milliseconds(1'500);

    /// A lease that is held for so long is reported, with the place of its acquire() and the wait
    /// in which its holder is. Off by default.
    time_span leak_detection_threshold = duration::max();
    /// At the end of its body a pool waits so long for leases that are still out.
    time_span drain = std::chrono::seconds(10);
    endpoint_choice choice = endpoint_choice::round_robin;
};

/// Why a connection was closed.
enum class discard_reason : std::uint8_t {
    by_holder,   ///< lease.discard()
    exception,   ///< an exception destroyed its lease: its state is unknown
    unclean,     ///< it came back with unread or unsent bytes, or after a cancelled wait
    stale,       ///< its peer had closed it, or had sent what nobody asked for
    invalid,     ///< validate() said so, failed or took too long
    idle,        ///< idle_timeout
    lifetime,    ///< max_lifetime
    cleared,     ///< clear()
    surplus,     ///< resize() to less
    closed,      ///< the pool was closed
    other_loop,  ///< a task of another loop needed it, and it could not move there
};
inline constexpr std::size_t discard_reasons = 11;

/// Spans of time in buckets of powers of two: bucket i holds those of less than 2^i nanoseconds
/// that bucket i - 1 does not hold.
class span_histogram {
public:
    void add(duration span) noexcept {
        const auto count = span.count();
        const auto width = std::bit_width(static_cast<std::uint64_t>(count < 0 ? 0 : count));
        ++counts_[static_cast<std::size_t>(width)];
    }
    [[nodiscard]] std::uint64_t count() const noexcept {
        std::uint64_t all = 0;
        for (const std::uint64_t each : counts_) all += each;
        return all;
    }
    /// A span that the part `q` of all (0.99: 99 of 100) does not exceed, at most twice as long as
    /// the shortest such span; zero if there is none.
    [[nodiscard]] duration quantile(double q) const noexcept {
        const double wanted = q * static_cast<double>(count());
        double seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += static_cast<double>(counts_[i]);
            if (counts_[i] != 0 && seen >= wanted)
                return i >= 63 ? duration::max() : duration((std::int64_t{1} << i) - 1);
        }
        return duration::zero();
    }
    [[nodiscard]] const std::array<std::uint64_t, 64>& buckets() const noexcept { return counts_; }

private:
    std::array<std::uint64_t, 64> counts_{};
};

/// The counts of a pool at one moment.
struct pool_stats {
    std::size_t active = 0;      ///< lent, or being validated
    std::size_t idle = 0;
    std::size_t waiting = 0;     ///< tasks in acquire()
    std::size_t connecting = 0;  ///< connects under way
    std::uint64_t acquired = 0;  ///< leases given, ever
    std::uint64_t created = 0;   ///< connections made, ever
    std::uint64_t connect_failures = 0;
    std::uint64_t timeouts = 0;  ///< acquires that ended by connection_timeout
    std::uint64_t refused = 0;   ///< acquires that met max_waiters
    std::uint64_t failed = 0;    ///< acquires that failed because the server is down
    std::uint64_t withdrawn = 0; ///< acquires that were cancelled
    std::uint64_t leaks = 0;     ///< leases held longer than leak_detection_threshold
    std::array<std::uint64_t, discard_reasons> discarded{};  ///< by discard_reason
    span_histogram acquire;      ///< from acquire() to the lease
    span_histogram use;          ///< from the lease to its end
    span_histogram creation;     ///< connects that succeeded

    [[nodiscard]] std::uint64_t discarded_for(discard_reason why) const noexcept {
        return discarded[static_cast<std::size_t>(why)];
    }
};

}}  // namespace coro::v0
