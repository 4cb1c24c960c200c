// Compile-time checks on coroutine parameters and awaited temporaries: lambdas, aggregates, g++ 12.
#pragma once

#include <cstddef>
#include <string_view>
#include <type_traits>

#include <coro/base/detail/export.hpp>
#include <coro/core/temporaries.hpp>

/// 1 on compilers that destroy some temporaries of an awaited expression twice: aggregates and
/// closures with a non-trivial destructor (g++ 12.2). tests/compile probes the real behaviour and
/// fails when it disagrees with this line.
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 13
#define CORO_DOUBLE_DESTROY 1
#else
#define CORO_DOUBLE_DESTROY 0
#endif

namespace coro { inline namespace v0 { namespace detail {

/// `... [with T = main()::<lambda()>]`. No string_view: g++ would append what that stands for.
template <typename T>
consteval const char* type_name() {
    return __PRETTY_FUNCTION__;
}

/// Where the angle bracket that closes `name` was opened; npos if it does not end with one.
consteval std::size_t matching_bracket(std::string_view name) {
    int depth = 0;
    for (std::size_t at = name.size(); at-- > 0;) {
        if (name[at] == '>') ++depth;
        if (name[at] == '<' && --depth == 0) return at;
        if (depth == 0) break;
    }
    return std::string_view::npos;
}

/// Whether T (without references) is the type of a lambda expression. There is no trait for that;
/// both compilers spell it in the name: `f()::<lambda(int)>` (g++), `(lambda at file:1:2)` (clang).
template <typename T>
consteval bool is_closure() {
    using plain = std::remove_cvref_t<T>;
    if constexpr (!std::is_class_v<plain>) {
        return false;
    } else {
        const std::string_view text = type_name<plain>();
        const auto start = text.find("T = ") + 4;
        std::string_view name = text.substr(start, text.rfind(']') - start);
        if (name.starts_with("(lambda at ")) return name.ends_with(")");
        if (name.ends_with(" mutable")) name.remove_suffix(8);
        const auto open = matching_bracket(name);
        return open != std::string_view::npos && name.substr(open).starts_with("<lambda(");
    }
}

/// The closure type when the coroutine whose traits see `Parameters` is the body of a lambda;
/// otherwise void. The closure is then its first parameter, by reference.
template <typename... Parameters>
struct closure_of {
    using type = void;
};
template <typename First, typename... Rest>
    requires(std::is_lvalue_reference_v<First> && is_closure<First>())
struct closure_of<First, Rest...> {
    using type = std::remove_cvref_t<First>;
};

/// Whether a closure owns or refers to something that dies with it. Not constexpr on purpose:
/// inside of its own body a closure type is incomplete, and only the body of a function waits.
template <typename Closure>
bool has_captures() noexcept {
    if constexpr (std::is_void_v<Closure>) return false;
    else return !std::is_empty_v<Closure>;
}

/// A parameter passed by value that g++ 12 may destroy twice.
template <typename Parameter>
inline constexpr bool unsafe_aggregate =
    CORO_DOUBLE_DESTROY != 0 && !std::is_reference_v<Parameter> &&
    std::is_aggregate_v<Parameter> && !std::is_trivially_destructible_v<Parameter> &&
    !trusted_aggregate<Parameter>;

/// A callable handed as a temporary (or by std::move) that g++ 12 may destroy twice.
template <typename Callable>
inline constexpr bool unsafe_closure_temporary =
    CORO_DOUBLE_DESTROY != 0 && !std::is_lvalue_reference_v<Callable> &&
    is_closure<Callable>() && !std::is_trivially_destructible_v<std::remove_cvref_t<Callable>>;

}}}  // namespace coro::v0::detail
