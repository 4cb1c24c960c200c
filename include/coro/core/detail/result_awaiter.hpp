// How as_result awaits: the outcome of any awaiter as a result.
#pragma once

#include <coroutine>
#include <type_traits>
#include <utility>

#include <coro/base/result.hpp>
#include <coro/core/detail/hold.hpp>

namespace coro { inline namespace v0 { namespace detail {

template <typename Inner>
class [[nodiscard("co_await it")]] result_awaiter : public awaiter_face<result_awaiter<Inner>>,
                                                    public bound_awaiter_tag {
    using value = decltype(std::declval<Inner&>().await_resume());

public:
    explicit result_awaiter(Inner&& inner) noexcept : inner_(std::move(inner)) {}

    void bind(detail::strand& strand) noexcept { inner_.bind(strand); }
    bool await_ready() { return inner_.await_ready(); }
    bool suspend(frame_link* parent, std::coroutine_handle<> resume) noexcept {
        return inner_.suspend(parent, resume);
    }
    result<value> await_resume() {
        try {
            if constexpr (std::is_void_v<value>) {
                inner_.await_resume();
                return result<void>();
            } else {
                return result<value>(inner_.await_resume());
            }
        } catch (const io_error& error) {
            return result<value>(error);
        }
    }

    result_awaiter relocated() noexcept { return result_awaiter(std::move(inner_)); }
    [[nodiscard]] const frame_link* capturing() noexcept { return inner_.capturing(); }

private:
    Inner inner_;
};

template <typename Inner>
inline constexpr bool owns_operands<result_awaiter<Inner>> = owns_operands<Inner>;
/// An error is told in it.
template <typename Inner>
inline constexpr bool returns_nothing<result_awaiter<Inner>> = false;

}}}  // namespace coro::v0::detail
