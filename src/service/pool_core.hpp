// The pool behind connection_pool: one queue, one budget, and what is idle on each loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <vector>

#include <coro/base/error.hpp>
#include <coro/base/time.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/service/detail/pooled.hpp>
#include <coro/service/pool_options.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A task in the queue. Lives in its coroutine. Once it is `served`, `granted` is set or will be:
/// the task stays until then.
struct pool_waiter : pool_link {
    event granted;
    unsigned loop = 0;
    std::uint32_t task = 0;
    std::source_location site;
    std::uint64_t ticket = 0;       ///< its place in the queue, also when it comes back to it
    bool served = false;
    bool in_hand = false;           ///< it has been granted one, and has not said yet what of it
    pooled* given = nullptr;
    std::exception_ptr failure;
};

/// A task that waits until nothing is lent. The same protocol.
struct pool_drainer : pool_link {
    event unused;
    bool told = false;
};

/// A lease that is held for long, as its holder's loop will report it.
struct pool_leak {
    std::uint32_t task;
    std::source_location site;
    duration held;
};

/// One server of a pool.
struct pool_endpoint {
    std::size_t connections = 0;  ///< of it, those being made included
    std::size_t connecting = 0;
    std::size_t failures = 0;     ///< connects that failed in a row
    time_point not_before{};      ///< no connect until then
    std::exception_ptr error;     ///< of the last failed connect
};

/// What a worker does without the lock.
struct pool_jobs {
    pool_chain<pooled> close;
    pool_chain<pooled> move;             ///< granted to tasks of other loops
    pool_chain<pooled> look_at;
    std::vector<std::size_t> connect;    ///< for each endpoint, how many
    std::vector<pool_leak> report;
};

/// The part of a pool on one loop: what is idle there, and what its worker is to do.
struct pool_share {
    unsigned index = 0;
    std::optional<event> work;         ///< of the worker, made on its loop when it begins
    std::optional<loop_handle> where;  ///< of that loop
    bool signalled = false;  ///< `work` is set, or a message is under way that sets it
    bool ended = false;
    pool_chain<pooled> idle;      ///< the one that was used last is the last one
    pool_jobs wanted;
    pool_jobs taken;  ///< the worker's own, not under the lock
};

/// All members are under `lock`, but where they say something else. What a loop has to do for
/// itself it does outside of it: connect, close, validate.
class pool_core : public std::enable_shared_from_this<pool_core> {
public:
    pool_core(const pool_options& options, std::unique_ptr<pool_source> source,
              std::size_t endpoints);
    ~pool_core();

    enum class condition : std::uint8_t { open, suspended, draining, closed };

    // --- connection_pool: each takes the lock
    pooled* try_take(const std::source_location& site) noexcept;
    void give_back(pooled& it, std::optional<discard_reason> why) noexcept;
    static task<pooled*> take(std::shared_ptr<pool_core> pool, std::source_location site);
    static task<> wait_until_unused(std::shared_ptr<pool_core> pool);
    pool_stats stats() noexcept;
    void suspend(bool suspended) noexcept;
    void clear() noexcept;
    void resize(std::size_t max_size);
    void drain() noexcept;
    void close() noexcept;
    void report_late() noexcept;  ///< the leases that are out at the end
    [[nodiscard]] duration drain_span() const noexcept { return options_.drain; }

    // --- its life
    task<> begin(task_group& group);
    static task<> run_share(std::shared_ptr<pool_core> pool, pool_share& share);

private:
    // --- the queue
    /// Throws; then the waiter is not in the queue.
    void enqueue(pool_waiter& who, bool again);
    /// Whether it is out of the queue, and nothing was granted.
    bool withdraw(pool_waiter& who) noexcept;
    void serve(time_point now) noexcept;
    pooled* find_idle(unsigned loop) noexcept;
    void grant(pool_waiter& to, pooled& it, time_point now) noexcept;
    void fail(pool_waiter& who, std::exception_ptr why) noexcept;
    [[nodiscard]] io_error error(errc code) const;
    task<bool> is_usable(pooled& it, time_point deadline);
    bool land(pooled& it) noexcept;
    void return_unused(pooled& it) noexcept;
    class seeker;

    // --- connections
    void mark_lent(pooled& it, std::uint32_t task, const std::source_location& site,
                   time_point now) noexcept;
    void unmark_lent(pooled& it) noexcept;
    void forget(pooled& it, discard_reason why) noexcept;
    void count_closed(std::size_t endpoint) noexcept;
    std::unique_ptr<pooled> retire(pooled& it, discard_reason why) noexcept;
    void retire_idle(pooled& it, discard_reason why) noexcept;
    void make_room_for(const pool_waiter& who, time_point now) noexcept;
    [[nodiscard]] std::optional<discard_reason> why_to_close(const pooled& it,
                                                             time_point now) const noexcept;
    void put_idle(pooled& it, time_point now) noexcept;
    [[nodiscard]] bool has_idle_to_spare() const noexcept {
        return idle_ + looked_at_ > options_.min_idle;
    }
    [[nodiscard]] bool wants_idle() const noexcept {
        return total_ < options_.max_size &&
               idle_ + looked_at_ + stats_.connecting < stats_.waiting + options_.min_idle;
    }
    /// What is lent; takes the lock.
    void drop(pooled& it, discard_reason why, const std::exception_ptr& error = {}) noexcept;
    static void close_at_home(std::unique_ptr<pooled> it) noexcept;
    void tell_if_unused() noexcept;

    // --- connects
    bool begin_connect(unsigned loop, time_point now) noexcept;
    pool_endpoint* choose_endpoint(time_point now) noexcept;
    [[nodiscard]] bool is_down() const noexcept;
    [[nodiscard]] std::exception_ptr cause() const noexcept;
    void connected(pool_share& share, std::unique_ptr<pooled> made, std::size_t endpoint,
                   std::uint64_t generation, time_point began) noexcept;
    void connect_failed(std::size_t endpoint, std::exception_ptr why) noexcept;
    bool note_failure(std::size_t endpoint, const std::exception_ptr& why,
                      time_point now) noexcept;
    /// Whether the server was down until now.
    bool note_success(std::size_t endpoint) noexcept;
    void report_back() const noexcept;
    void report_down(const std::exception_ptr& why) const noexcept;
    static task<> connect_one(std::shared_ptr<pool_core> pool, std::reference_wrapper<pool_share>,
                              std::size_t endpoint);
    void count_connect_out(std::size_t endpoint) noexcept;
    duration shortened(duration span, double part) noexcept;

    // --- the workers
    void signal(pool_share& share) noexcept;
    void fall_due(time_point when) noexcept;
    time_point tend(time_point now) noexcept;
    [[nodiscard]] time_point next_look(const pooled& it) const noexcept;
    void tend_idle(time_point now) noexcept;
    void tend_lent(time_point now) noexcept;
    void tend_endpoints(time_point now) noexcept;
    bool take_jobs(pool_share& share, time_point& due) noexcept;
    void give_up(pool_jobs& jobs, pool_chain<pooled>& rest) noexcept;
    static task<> work(std::shared_ptr<pool_core> pool, pool_share& share, task_group& group);
    void close_all(pool_chain<pooled>& of) noexcept;
    static task<> look_at(std::shared_ptr<pool_core> pool, std::reference_wrapper<pooled> it);
    void move_out(pooled& it) noexcept;
    void give_up_move(pooled& it) noexcept;
    void report_leak(const pool_leak& leak) const noexcept;
    void report_returned(const std::source_location& site, duration held) const noexcept;
    bool end_share(pool_share& share) noexcept;

    std::mutex lock_;
    pool_options options_;
    const std::unique_ptr<pool_source> source_;
    condition condition_ = condition::open;
    std::vector<pool_endpoint> endpoints_;
    std::size_t next_endpoint_ = 0;
    std::vector<std::unique_ptr<pool_share>> shares_;  ///< by the number of the loop
    unsigned home_ = 0;                  ///< the loop whose worker looks after spans
    std::vector<pooled*> all_;
    pool_chain<pool_waiter> queue_;
    pool_chain<pool_drainer> drainers_;
    std::uint64_t next_ticket_ = 0;
    std::uint64_t generation_ = 0;
    std::uint64_t draws_ = 0;            ///< of shortened()
    std::size_t total_ = 0;              ///< connections, those being made or closed included
    std::size_t closing_ = 0;            ///< those being closed
    std::size_t in_hand_ = 0;            ///< waiters that have been granted one and look at it
    std::size_t idle_ = 0;               ///< in the lists of the shares
    std::size_t looked_at_ = 0;          ///< idle as well, but not to be lent just now
    pool_stats stats_;
    time_point due_ = never;             ///< when the worker of `home_` looks next
    bool tending_ = false;               ///< that worker is looking
    bool was_down_ = false;              ///< the operator has been told
    std::exception_ptr closed_error_;

    std::size_t not_begun_ = 0;
    event all_begun_;
};

}}}  // namespace coro::v0::detail
