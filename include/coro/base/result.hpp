// result<T>: a value or an io_error, for code that treats errors as values (see as_result).
#pragma once

#include <type_traits>
#include <utility>
#include <variant>

#include <coro/base/detail/assert.hpp>
#include <coro/base/error.hpp>

namespace coro { inline namespace v0 {

/// Holds either a `T` (T may be void or a reference) or the io_error that prevented it.
template <typename T>
class [[nodiscard]] result {
    using stored = std::conditional_t<
        std::is_void_v<T>, std::monostate,
        std::conditional_t<std::is_reference_v<T>, std::remove_reference_t<T>*, T>>;

public:
    using value_type = T;

    result() requires std::is_void_v<T> : state_(std::in_place_index<0>) {}
    template <typename U>
        requires(!std::is_void_v<T> && !std::is_reference_v<T> &&
                 std::is_constructible_v<T, U> && !std::is_same_v<std::remove_cvref_t<U>, result> &&
                 !std::is_same_v<std::remove_cvref_t<U>, io_error>)
    result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}
    template <typename U>
        requires(std::is_lvalue_reference_v<T> && std::is_convertible_v<U&, T>)
    result(U& value) : state_(std::in_place_index<0>, &value) {}
    result(io_error error) : state_(std::in_place_index<1>, error) {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    /// The value. Throws the io_error if there is none.
    decltype(auto) value() & {
        throw_if_error();
        return **this;
    }
    decltype(auto) value() && {
        throw_if_error();
        return *std::move(*this);
    }

    /// The value. Requires: has_value().
    std::add_lvalue_reference_t<T> operator*() & noexcept {
        CORO_ASSERT(has_value(), "the value of a result that holds an error was read");
        if constexpr (std::is_reference_v<T>) return **std::get_if<0>(&state_);
        else if constexpr (!std::is_void_v<T>) return *std::get_if<0>(&state_);
    }
    T operator*() && {
        CORO_ASSERT(has_value(), "the value of a result that holds an error was read");
        if constexpr (std::is_reference_v<T>) return static_cast<T>(**std::get_if<0>(&state_));
        else if constexpr (!std::is_void_v<T>) return std::move(*std::get_if<0>(&state_));
    }
    const stored& operator*() const& noexcept
        requires(!std::is_void_v<T> && !std::is_reference_v<T>)
    {
        CORO_ASSERT(has_value(), "the value of a result that holds an error was read");
        return *std::get_if<0>(&state_);
    }
    auto operator->() noexcept requires(!std::is_void_v<T>) { return &**this; }

    /// The error. Requires: !has_value().
    [[nodiscard]] const io_error& error() const noexcept {
        CORO_ASSERT(!has_value(), "the error of a result that holds a value was read");
        return *std::get_if<1>(&state_);
    }

private:
    void throw_if_error() const {
        if (!has_value()) throw io_error(error());
    }

    std::variant<stored, io_error> state_;
};

}}  // namespace coro::v0
