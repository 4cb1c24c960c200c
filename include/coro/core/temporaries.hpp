// Ways to hand temporaries over inside of an awaited expression, on g++ 12 too: trusted_aggregate,
// moved.
#pragma once

#include <type_traits>
#include <utility>

namespace coro { inline namespace v0 {

/// Specialise as true for an aggregate with a non-trivial destructor. Then pass it by value to
/// coroutines only as a named object or by std::move, never as a braced temporary.
template <typename T>
inline constexpr bool trusted_aggregate = false;

namespace detail {

/// A callable that was moved out of a named one.
template <typename Callable>
class moved_callable {
public:
    explicit moved_callable(Callable& from) : callable_(std::move(from)) {}

    template <typename... Args>
        requires std::is_invocable_v<Callable&, Args...>
    decltype(auto) operator()(Args&&... args) {
        return callable_(std::forward<Args>(args)...);
    }

private:
    Callable callable_;
};

}  // namespace detail

/// Moves a named callable into an object that may be handed over inside of an awaited expression,
/// on g++ 12 too: `co_await coro::blocking(coro::moved(work))`. For lambdas that own what cannot be
/// copied.
template <typename Callable>
    requires(!std::is_const_v<Callable> && std::is_move_constructible_v<Callable>)
[[nodiscard]] detail::moved_callable<Callable> moved(Callable& callable) {
    return detail::moved_callable<Callable>(callable);
}

}}  // namespace coro::v0
