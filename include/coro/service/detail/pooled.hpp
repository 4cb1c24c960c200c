// One connection of a pool, and the pool's interface to its typed front.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <source_location>
#include <utility>

#include <coro/base/time.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/service/pool_options.hpp>

namespace coro { inline namespace v0 { namespace detail {

class pool_core;

/// An element of a pool_chain.
struct pool_link {
    pool_link* before = nullptr;
    pool_link* after = nullptr;
};

/// A list that allocates nothing. An element is in one at most.
template <typename Element>
class pool_chain {
public:
    pool_chain() noexcept { ends_.before = ends_.after = &ends_; }
    pool_chain(const pool_chain&) = delete;
    pool_chain& operator=(const pool_chain&) = delete;

    [[nodiscard]] bool empty() const noexcept { return ends_.after == &ends_; }
    /// Requires: not empty.
    [[nodiscard]] Element& first() const noexcept { return *static_cast<Element*>(ends_.after); }
    [[nodiscard]] Element& last() const noexcept { return *static_cast<Element*>(ends_.before); }
    /// nullptr behind the last one.
    [[nodiscard]] Element* next(Element& of) const noexcept {
        pool_link* const after = static_cast<pool_link&>(of).after;
        return after == &ends_ ? nullptr : static_cast<Element*>(after);
    }
    void push_back(Element& it) noexcept { insert_before(ends_, it); }
    void insert_before(pool_link& where, Element& it) noexcept {
        pool_link& link = it;
        link.before = where.before;
        link.after = &where;
        where.before->after = &link;
        where.before = &link;
    }
    static void remove(Element& it) noexcept {
        pool_link& link = it;
        link.before->after = link.after;
        link.after->before = link.before;
        link.before = link.after = nullptr;
    }
    /// Takes all of `other`.
    void take(pool_chain& other) noexcept {
        while (!other.empty()) {
            Element& it = other.first();
            remove(it);
            push_back(it);
        }
    }

private:
    pool_link ends_;
};

struct pool_waiter;

/// One connection. The fields belong to the pool, under its lock; the functions are called on the
/// connection's loop, by the one who has it.
class pooled : public pool_link {
public:
    explicit pooled(std::shared_ptr<pool_core> of) noexcept : pool(std::move(of)) {}
    pooled(const pooled&) = delete;
    pooled& operator=(const pooled&) = delete;
    virtual ~pooled() = default;

    virtual bool is_clean() noexcept = 0;
    /// Whether its peer has closed it, or has sent what nobody asked for. A system call.
    virtual bool is_stale() noexcept = 0;
    virtual bool can_validate() const noexcept = 0;
    virtual task<bool> validate() = 0;
    virtual bool can_move() const noexcept = 0;
    virtual void leave() = 0;   ///< takes it off the running loop
    virtual void arrive() = 0;  ///< makes it a connection of the running loop

    /// Kept alive by leases that are out when the pool ends.
    const std::shared_ptr<pool_core> pool;
    pool_waiter* destined = nullptr;  ///< the task on another loop for which it leaves its own
    std::size_t number = 0;           ///< its place among all of the pool
    std::size_t endpoint = 0;
    std::uint64_t generation = 0;
    unsigned loop = 0;
    bool in_transit = false;  ///< has left its loop and not arrived
    bool lent = false;
    bool told = false;        ///< reported as a leak
    bool fresh = true;        ///< nothing has shown yet that its server serves it
    time_point retire_at = never;
    time_point last_used{};
    time_point last_looked_at{};
    // --- of the lease
    time_point lent_at{};
    std::uint32_t holder = 0;  ///< number of the task that acquired it, on `loop`
    std::source_location site;
};

/// The connector of a pool.
class pool_source {
public:
    virtual ~pool_source() = default;
    virtual task<std::unique_ptr<pooled>> connect(std::shared_ptr<pool_core> pool,
                                                  std::size_t endpoint) = 0;
};

/// Throws: std::invalid_argument that names the option.
CORO_EXPORT std::shared_ptr<pool_core> make_pool(const pool_options& options,
                                                 std::unique_ptr<pool_source> source,
                                                 std::size_t endpoints);
/// Starts its work on all loops, as children of `group`; returns when it has begun.
CORO_EXPORT task<> begin_pool(std::shared_ptr<pool_core> pool, task_group& group);
/// Closes it and waits for leases that are out, at most for pool_options::drain.
CORO_EXPORT task<> end_pool(std::shared_ptr<pool_core> pool);

/// A connection that is idle on this loop and needs no look; nullptr: take_from_pool() has one.
CORO_EXPORT pooled* try_take(pool_core& pool, const std::source_location& site) noexcept;
CORO_EXPORT task<pooled*> take_from_pool(std::shared_ptr<pool_core> pool,
                                         std::source_location site);
/// Returns what was lent. Without a reason to discard it, it is lent again.
CORO_EXPORT void give_back(pooled& it, std::optional<discard_reason> why) noexcept;

CORO_EXPORT pool_stats stats_of(pool_core& pool) noexcept;
CORO_EXPORT void suspend_pool(pool_core& pool, bool suspended) noexcept;
CORO_EXPORT void clear_pool(pool_core& pool) noexcept;
CORO_EXPORT void resize_pool(pool_core& pool, std::size_t max_size);
CORO_EXPORT task<> drain_pool(std::shared_ptr<pool_core> pool);
CORO_EXPORT void close_pool(pool_core& pool) noexcept;

}}}  // namespace coro::v0::detail
