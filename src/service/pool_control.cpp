// The life of a pool beside its queue: its options, and what it is told while it runs.
#include "service/pool_core.hpp"

#include <stdexcept>
#include <string>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/sleep.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Less would be a storm of connects where min_idle is kept.
constexpr duration shortest_life = std::chrono::seconds(1);

void check(bool good, const char* option, const char* what) {
    if (!good) throw std::invalid_argument(std::string("connection_pool: ") + option + what);
}

void check_size(std::size_t max_size, std::size_t min_idle) {
    check(max_size > 0, "max_size", " is 0: a pool of no connection never lends one");
    check(min_idle <= max_size, "min_idle", " is above max_size: so many can never be idle");
}

}  // namespace

pool_core::pool_core(const pool_options& options, std::unique_ptr<pool_source> source,
                     std::size_t endpoints)
    : options_(options), source_(std::move(source)), endpoints_(endpoints) {
    check_size(options.max_size, options.min_idle);
    check(endpoints > 0, "endpoints()", " of the connector returns 0: there is no server");
    check(options.max_connecting > 0, "max_connecting", " is 0: no connection could be made");
    check(options.breaker_threshold > 0, "breaker_threshold",
          " is 0: the server would count as down before the first connect");
    check(options.max_waiters > 0, "max_waiters", " is 0: no task could wait for a connection");
    check(options.max_lifetime >= shortest_life, "max_lifetime",
          " is below 1 s: connections would be made all the time");
    check(options.keepalive_time > duration::zero(), "keepalive_time",
          " is not above 0: connections would be looked at all the time");
    check(options.retry_first > duration::zero() && options.retry_most > duration::zero(),
          "retry_first or retry_most",
          " is not above 0: a server that is down would be asked all the time");
    check(options.lifetime_jitter >= 0 && options.lifetime_jitter <= 1, "lifetime_jitter",
          " is not between 0 and 1");
    closed_error_ = std::make_exception_ptr(error(errc::closed));
    home_ = loop_index();
    shares_.reserve(loop_count());
    for (unsigned i = 0; i < loop_count(); ++i) {
        shares_.push_back(std::make_unique<pool_share>());
        shares_.back()->index = i;
        shares_.back()->wanted.connect.resize(endpoints);
        shares_.back()->taken.connect.resize(endpoints);
    }
}

pool_core::~pool_core() = default;

io_error pool_core::error(errc code) const { return io_error(code, "acquire", options_.name); }

// --- what the pool is told

pool_stats pool_core::stats() noexcept {
    const std::lock_guard held(lock_);
    pool_stats all = stats_;
    all.idle = idle_ + looked_at_;
    return all;
}

void pool_core::suspend(bool suspended) noexcept {
    const time_point present = now();
    const std::lock_guard held(lock_);
    if (suspended && condition_ == condition::open) condition_ = condition::suspended;
    if (!suspended && condition_ == condition::suspended) condition_ = condition::open;
    serve(present);
}

void pool_core::clear() noexcept {
    const time_point present = now();
    const std::lock_guard held(lock_);
    ++generation_;
    for (const auto& share : shares_)
        while (!share->idle.empty()) retire_idle(share->idle.first(), discard_reason::cleared);
    for (pool_endpoint& each : endpoints_) each.not_before = present;
    serve(present);
}

void pool_core::resize(std::size_t max_size) {
    const time_point present = now();
    const std::lock_guard held(lock_);
    check_size(max_size, options_.min_idle);
    options_.max_size = max_size;
    for (const auto& share : shares_)
        while (total_ - closing_ > max_size && !share->idle.empty())
            retire_idle(share->idle.first(), discard_reason::surplus);
    serve(present);
}

void pool_core::drain() noexcept {
    const time_point present = now();
    const std::lock_guard held(lock_);
    if (condition_ == condition::closed) return;
    condition_ = condition::draining;
    serve(present);
}

void pool_core::close() noexcept {
    const std::lock_guard held(lock_);
    if (condition_ == condition::closed) return;
    condition_ = condition::closed;
    while (!queue_.empty()) fail(queue_.first(), closed_error_);
    for (const auto& share : shares_) {
        while (!share->idle.empty()) retire_idle(share->idle.first(), discard_reason::closed);
        signal(*share);
    }
    tell_if_unused();
}

// --- the front

std::shared_ptr<pool_core> make_pool(const pool_options& options,
                                     std::unique_ptr<pool_source> source, std::size_t endpoints) {
    return std::make_shared<pool_core>(options, std::move(source), endpoints);
}
pooled* try_take(pool_core& pool, const std::source_location& site) noexcept {
    return pool.try_take(site);
}
task<pooled*> take_from_pool(std::shared_ptr<pool_core> pool, std::source_location site) {
    return pool_core::take(std::move(pool), site);
}
void give_back(pooled& it, std::optional<discard_reason> why) noexcept {
    it.pool->give_back(it, why);
}
pool_stats stats_of(pool_core& pool) noexcept { return pool.stats(); }
void suspend_pool(pool_core& pool, bool suspended) noexcept { pool.suspend(suspended); }
void clear_pool(pool_core& pool) noexcept { pool.clear(); }
void resize_pool(pool_core& pool, std::size_t max_size) { pool.resize(max_size); }
void close_pool(pool_core& pool) noexcept { pool.close(); }
task<> drain_pool(std::shared_ptr<pool_core> pool) {
    pool->drain();
    co_await pool_core::wait_until_unused(pool);
    pool->close();
}

}}}  // namespace coro::v0::detail
