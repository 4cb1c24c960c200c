// The typed front of a pool: its connector, and a connection of it.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/core/detail/callable.hpp>
#include <coro/core/task.hpp>
#include <coro/net/connection.hpp>
#include <coro/net/detached_connection.hpp>
#include <coro/net/detached_stream.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/service/detail/pooled.hpp>

namespace coro { inline namespace v0 {
template <typename T>
class connection_pool;
}}

namespace coro { inline namespace v0 { namespace detail {

template <typename Task>
inline constexpr bool is_connect = false;
template <typename T>
inline constexpr bool is_connect<task<T>> = std::is_nothrow_move_constructible_v<T> &&
                                            std::is_object_v<T>;
template <typename Connector>
concept connector_of_one =
    requires(Connector& connect) { requires is_connect<decltype(connect())>; };
template <typename Connector>
concept connector_of_many = requires(Connector& connect, std::size_t endpoint) {
    { connect.endpoints() } -> std::convertible_to<std::size_t>;
    requires is_connect<decltype(connect(endpoint))>;
};

template <typename Task>
struct value_of_connect;
template <typename T>
struct value_of_connect<task<T>> {
    using type = T;
};
template <typename Connector>
auto connect_with(Connector& connector, [[maybe_unused]] std::size_t endpoint) {
    if constexpr (connector_of_many<Connector>) return connector(endpoint);
    else return connector();
}
template <typename Connector>
using connected =
    typename value_of_connect<decltype(connect_with(std::declval<Connector&>(), 0))>::type;

/// A connection between two loops.
template <typename T>
struct no_transit {};
template <typename T>
concept detaches_itself = requires(T& of) {
    { std::move(of).detach().attach() } -> std::same_as<T>;
};
template <typename T>
struct transit_of {
    using type = no_transit<T>;
};
template <net::detachable T>
struct transit_of<T> {
    using type = net::detached_stream<T>;
};
template <>
struct transit_of<net::connection> {
    using type = net::detached_connection;
};
template <detaches_itself T>
struct transit_of<T> {
    using type = decltype(std::declval<T>().detach());
};

// Concepts, and no requires expressions where they are asked: the dump that coro_check reads ends
// clang 19 at one of those that is not satisfied.
template <typename T>
concept says_it_is_clean = requires(T& of) {
    { of.is_clean() } -> std::convertible_to<bool>;
};
template <typename T>
concept says_it_has_input = requires(T& of) {
    { of.has_input() } -> std::convertible_to<bool>;
};
template <typename Connector, typename T>
concept says_what_is_clean = requires(Connector& by, T& of) {
    { by.clean(of) } -> std::same_as<bool>;
};
template <typename Connector, typename T>
concept validates = requires(Connector& by, T& of) {
    { by.validate(of) } -> std::same_as<task<bool>>;
};
template <typename Transit, typename T>
concept knows_what_it_can_take = requires(const T& of) {
    { Transit::can_take(of) } -> std::convertible_to<bool>;
};

/// What the pool knows of T without a connector that says more.
template <typename T>
bool is_fit(T& of) {
    if constexpr (says_it_is_clean<T>) return of.is_clean();
    else if constexpr (std::derived_from<T, net::stream>)
        return static_cast<bool>(of) && !of.was_interrupted();
    else
        return true;
}
template <typename T>
bool has_unasked_input(T& of) {
    if constexpr (std::derived_from<T, net::connection>) return of.stream.has_input();
    else if constexpr (says_it_has_input<T>) return of.has_input();
    else return false;
}

template <typename T>
class pooled_value : public pooled {
    using transit = typename transit_of<T>::type;
    static constexpr bool moves = !std::same_as<transit, no_transit<T>>;

public:
    pooled_value(std::shared_ptr<pool_core> of, T&& value)
        : pooled(std::move(of)), value_(std::move(value)) {}

    [[nodiscard]] T& value() noexcept { return *value_; }

    bool is_stale() noexcept override {
        try {
            return !value_ || has_unasked_input(*value_);
        } catch (...) {
            return true;
        }
    }
    bool can_move() const noexcept override {
        if constexpr (!moves) return false;
        else if constexpr (knows_what_it_can_take<transit, T>)
            return value_.has_value() && transit::can_take(*value_);
        else return value_.has_value();
    }
    void leave() override {
        if constexpr (detaches_itself<T>) on_its_way_.emplace(std::move(*value_).detach());
        else if constexpr (moves) on_its_way_.emplace(std::move(*value_));
        value_.reset();
    }
    void arrive() override {
        if constexpr (moves) {
            value_.emplace(std::move(*on_its_way_).attach());
            on_its_way_.reset();
        }
    }

private:
    std::optional<T> value_;
    std::optional<transit> on_its_way_;
};

/// Owns the connector, which the elements ask. `Kept` may be a reference wrapper of it.
template <typename Kept>
class source_of final : public pool_source {
    using connector = std::unwrap_reference_t<Kept>;

public:
    using type = connected<connector>;

    explicit source_of(Kept&& from) : kept_(std::move(from)) {}

    [[nodiscard]] std::size_t endpoints() const {
        if constexpr (connector_of_many<connector>) return by().endpoints();
        else return 1;
    }
    task<std::unique_ptr<pooled>> connect(std::shared_ptr<pool_core> pool,
                                          std::size_t endpoint) override {
        type made = co_await connect_with(by(), endpoint);
        co_return std::make_unique<element>(std::move(pool), std::move(made), by());
    }

private:
    class element final : public pooled_value<type> {
    public:
        element(std::shared_ptr<pool_core> of, type&& value, connector& by)
            : pooled_value<type>(std::move(of), std::move(value)), by_(by) {}

        bool is_clean() noexcept override {
            try {
                if constexpr (says_what_is_clean<connector, type>)
                    return by_.clean(this->value());
                else
                    return is_fit(this->value());
            } catch (...) {
                return false;
            }
        }
        bool can_validate() const noexcept override { return validates<connector, type>; }
        task<bool> validate() override {
            if constexpr (validates<connector, type>)
                co_return co_await by_.validate(this->value());
            else
                co_return true;
        }

    private:
        connector& by_;
    };

    connector& by() const noexcept { return kept_; }

    mutable Kept kept_;
};

/// Closes a pool at its end.
class pool_closing {
public:
    explicit pool_closing(pool_core& of) noexcept : of_(of) {}
    pool_closing(const pool_closing&) = delete;
    pool_closing& operator=(const pool_closing&) = delete;
    ~pool_closing() { close_pool(of_); }

private:
    pool_core& of_;
};

/// The life of a pool: with_connection_pool.
template <typename Connector, typename Body>
class pool_life {
    using source = source_of<Connector>;
    using pool = connection_pool<typename source::type>;
    using result = std::invoke_result_t<std::unwrap_reference_t<Body>&, pool&>;

public:
    static result run(Connector connector, pool_options options, Body body) {
        auto typed = std::make_unique<source>(std::move(connector));
        const std::size_t endpoints = typed->endpoints();
        const auto core = make_pool(options, std::move(typed), endpoints);
        pool lent(core);
        const auto inside = [&](task_group& group) -> result {
            // Whatever ends the body: nobody is left in the queue, and nothing is made any more.
            const pool_closing closed(*core);
            co_await begin_pool(core, group);
            if constexpr (std::is_same_v<result, task<>>) {
                co_await static_cast<std::unwrap_reference_t<Body>&>(body)(lent);
                co_await end_pool(core);
            } else {
                auto value = co_await static_cast<std::unwrap_reference_t<Body>&>(body)(lent);
                try {
                    co_await end_pool(core);
                } catch (const cancelled&) {  // the value stands
                }
                co_return value;
            }
        };
        co_return co_await with_task_group(inside);
    }
};

}}}  // namespace coro::v0::detail
