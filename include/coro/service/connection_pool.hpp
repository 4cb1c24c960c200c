// connection_pool: connections that tasks borrow, one user each at a time, and give back.
#pragma once

#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <type_traits>
#include <utility>
#include <vector>

#include <coro/core/detail/callable.hpp>
#include <coro/core/task.hpp>
#include <coro/net/connection.hpp>
#include <coro/net/local.hpp>
#include <coro/net/tcp.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/service/detail/pooled_value.hpp>
#include <coro/service/pool_options.hpp>

namespace coro { inline namespace v0 {

/// Makes the connections of a pool. `connector()` returns `task<T>`; so does `connector(i)` of one
/// that has a member `endpoints()`, the number of servers it knows, for the server `i`. A connector
/// may have two more members. `task<bool> validate(T&)` asks the server whether the connection is
/// usable (a ping). `bool clean(T&)` returns whether a connection that has come back may be lent
/// again; otherwise T::is_clean() does that, or stream::was_interrupted(), if T has it.
template <typename Connector>
concept pool_connector = detail::connector_of_one<Connector> ||
                         detail::connector_of_many<Connector>;

/// A connection on loan from a pool: use it by `*lease` and `lease->`. Move-only; it gives the
/// connection back at its end, which resumes the next task in the queue. A lease that an exception
/// destroys (`cancelled` as well) discards it: a reply may be under way that nobody has read.
/// Belongs to the loop on which it was acquired. One that ends on another loop discards the
/// connection. It may outlive its pool, and closes the connection then.
template <typename T>
class [[nodiscard("the connection goes back at once")]] pool_lease {
public:
    pool_lease() noexcept = default;
    pool_lease(pool_lease&& other) noexcept
        : of_(std::exchange(other.of_, nullptr)), exceptions_(other.exceptions_) {}
    pool_lease& operator=(pool_lease&& other) noexcept {
        if (this != &other) {
            release();
            of_ = std::exchange(other.of_, nullptr);
            exceptions_ = other.exceptions_;
        }
        return *this;
    }
    ~pool_lease() { release(); }

    /// Whether it has a connection.
    [[nodiscard]] explicit operator bool() const noexcept { return of_ != nullptr; }
    /// Requires: it has one.
    [[nodiscard]] T& operator*() const noexcept { return of_->value(); }
    [[nodiscard]] T* operator->() const noexcept { return &of_->value(); }

    /// Gives the connection back early; does nothing when empty.
    void release() noexcept {
        if (of_ == nullptr) return;
        std::optional<discard_reason> why;
        if (std::uncaught_exceptions() > exceptions_) why = discard_reason::exception;
        give_back(*std::exchange(of_, nullptr), why);
    }
    /// Closes the connection: after an error of its protocol, or where a reply was not read to its
    /// end. Does nothing when empty.
    void discard() noexcept {
        if (of_ != nullptr)
            give_back(*std::exchange(of_, nullptr), discard_reason::by_holder);
    }

private:
    template <typename>
    friend class connection_pool;
    explicit pool_lease(detail::pooled& of) noexcept
        : of_(static_cast<detail::pooled_value<T>*>(&of)),
          exceptions_(std::uncaught_exceptions()) {}

    detail::pooled_value<T>* of_ = nullptr;
    int exceptions_ = 0;
};

/// Connections of one kind that tasks borrow. Made by with_connection_pool. Tasks and fibers of all
/// loops of the run may use it at once.
///
/// Grants are strictly first come, first served, over all loops, and the connection that was used
/// last is lent first. One queue and one budget count for all loops. An idle connection belongs to
/// a loop; one that a task of another loop needs moves there if it can: streams and net::connection
/// can, and any T with a member detach() that returns something whose attach() returns a T again.
/// One that cannot stays, and another one is made. Where max_size leaves no room for that, the one
/// that nobody has used for longest is closed.
template <typename T>
class connection_pool {
public:
    using lease = pool_lease<T>;

    /// Returns `pool_lease<T>`: a connection that nobody else uses. It was clean when it came back.
    /// If T has has_input(), as streams and net::connection do, it had none when it was lent: that
    /// is asked after a millisecond of idleness. Leak reports name the place of the call.
    /// Suspends until it is granted, for pool_options::connection_timeout at most, and for
    /// validate(); resumes on this loop.
    /// Throws: io_error "acquire" with the name of the pool (errc::deadline_exceeded;
    /// errc::limit_exceeded when max_waiters wait already; errc::closed); the error of the last
    /// connect when the server is down; cancelled.
    /// Cancel safety: on `cancelled` nothing was taken: what had been granted goes to the next task
    /// in the queue, and a connect that was under way goes on for it. A task whose deadline has
    /// passed connects to nobody.
    [[nodiscard("co_await it or spawn it")]] task<lease> acquire(
        std::source_location site = std::source_location::current()) {
        if (detail::pooled* const idle = detail::try_take(*core_, site)) co_return lease(*idle);
        co_return lease(*co_await detail::take_from_pool(core_, site));
    }

    /// Returns what `work(connection)` returns, a task: with a connection that is given back after
    /// it. `work` is kept to the end and may capture.
    /// Suspends, throws and cancel safety: as acquire(), and as the task.
    template <typename Work>
        requires std::invocable<std::unwrap_reference_t<std::decay_t<Work>>&, T&>
    [[nodiscard("co_await it or spawn it")]] auto with(
        Work&& work, std::source_location site = std::source_location::current()) {
        detail::check_body_callable<Work>();
        return with_lease<std::decay_t<Work>>(*this, std::forward<Work>(work), site);
    }

    /// A snapshot. Any loop of the run may ask.
    [[nodiscard]] pool_stats stats() const noexcept { return detail::stats_of(*core_); }

    /// Grants nothing until resume(); tasks wait meanwhile, and connections come back.
    void suspend() noexcept { detail::suspend_pool(*core_, true); }
    void resume() noexcept { detail::suspend_pool(*core_, false); }
    /// Closes all connections: idle ones now, those that are lent when they come back. For a
    /// server that was replaced. Also tries at once to connect where that has failed before.
    void clear() noexcept { detail::clear_pool(*core_); }
    /// Sets max_size. Idle connections beyond it are closed, lent ones when they come back.
    /// Throws: std::invalid_argument (0, or less than min_idle); std::bad_alloc.
    void resize(std::size_t max_size) { detail::resize_pool(*core_, max_size); }
    /// Returns nothing, once no connection is lent. From now on acquire() is refused
    /// (errc::closed); those that wait already are served. Then all are closed.
    /// Suspends until then; resumes on this loop. Throws: cancelled; the pool is refusing all the
    /// same.
    [[nodiscard("co_await it or spawn it")]] task<> drain() { return detail::drain_pool(core_); }
    /// Refuses all from now on, those that wait as well (errc::closed). Closes what is idle; what
    /// is lent is closed when it comes back.
    void close() noexcept { detail::close_pool(*core_); }

private:
    template <typename Connector, typename Body>
    friend class detail::pool_life;
    explicit connection_pool(std::shared_ptr<detail::pool_core> core) noexcept
        : core_(std::move(core)) {}

    template <typename Work>
    static std::invoke_result_t<std::unwrap_reference_t<Work>&, T&> with_lease(
        connection_pool& pool, Work work, std::source_location site) {
        const lease held = co_await pool.acquire(site);
        co_return co_await static_cast<std::unwrap_reference_t<Work>&>(work)(*held);
    }

    std::shared_ptr<detail::pool_core> core_;
};

/// Returns what the body returns: calls `body(pool)` with a connection_pool<T> of what `connector`
/// makes, and awaits the task it returns. The pool connects when a task needs a connection, and
/// ahead for min_idle. At the end of the body it is closed. If the body has returned, the pool
/// waits for leases that are out, for options.drain at most, and reports those that stay out.
/// `connector` and `body` are kept to the end and may capture. In a run of several loops the
/// connector is called on all, by several threads at once.
/// Suspends until body and pool have ended; resumes on this loop.
/// Throws: what the body throws; std::invalid_argument (an option that cannot be); std::bad_alloc.
/// Cancel safety: that of the body. A connect that is under way is cancelled.
template <typename Connector, typename Body>
    requires pool_connector<std::unwrap_reference_t<std::decay_t<Connector>>>
[[nodiscard("co_await it or spawn it")]] auto with_connection_pool(Connector&& connector,
                                                                   const pool_options& options,
                                                                   Body&& body) {
    detail::check_body_callable<Connector>();
    detail::check_body_callable<Body>();
    return detail::pool_life<std::decay_t<Connector>, std::decay_t<Body>>::run(
        std::forward<Connector>(connector), options, std::forward<Body>(body));
}

/// Connects to servers over TCP; the connector of a pool of net::connection.
class tcp_connector {
public:
    /// Requires: at least one endpoint.
    explicit tcp_connector(std::vector<net::endpoint> to, net::connect_options options = {},
                           net::connection_options buffers = {})
        : to_(std::move(to)), options_(options), buffers_(buffers) {}
    explicit tcp_connector(net::endpoint to, net::connect_options options = {},
                           net::connection_options buffers = {})
        : tcp_connector(std::vector{to}, options, buffers) {}

    [[nodiscard]] std::size_t endpoints() const noexcept { return to_.size(); }
    [[nodiscard]] task<net::connection> operator()(std::size_t endpoint) const {
        co_return net::connection(
            net::stream(co_await net::tcp_stream::connect(to_[endpoint], options_)), buffers_);
    }

private:
    std::vector<net::endpoint> to_;
    net::connect_options options_;
    net::connection_options buffers_;
};

/// The same for a Unix socket.
class local_connector {
public:
    explicit local_connector(net::local_address to, net::connection_options buffers = {})
        : to_(to), buffers_(buffers) {}

    [[nodiscard]] task<net::connection> operator()() const {
        co_return net::connection(net::stream(co_await net::local_stream::connect(to_)), buffers_);
    }

private:
    net::local_address to_;
    net::connection_options buffers_;
};

}}  // namespace coro::v0
