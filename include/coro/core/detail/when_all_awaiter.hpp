// The branches of when_all, and how they are awaited.
#pragma once

#include <coroutine>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <coro/core/detail/branch.hpp>

namespace coro { inline namespace v0 { namespace detail {

template <typename... Inner>
class [[nodiscard("co_await it")]] when_all_awaiter final
    : public branch_set,
      public awaiter_face<when_all_awaiter<Inner...>> {
public:
    explicit when_all_awaiter(Inner&&... inner) noexcept
        : branch_set("when_all", branch_policy::all), branches_(std::move(inner)...) {}

    bool await_ready() const noexcept { return sizeof...(Inner) == 0; }
    bool suspend(frame_link* /*parent*/, std::coroutine_handle<> resume) noexcept {
        open(resume);
        std::apply([this](auto&... each) { (start(each), ...); }, branches_);
        return true;
    }
    std::tuple<tuple_value<typename branch<Inner>::value_type>...> await_resume() {
        close();
        return std::apply(
            [](auto&... each) {
                return std::tuple<tuple_value<typename branch<Inner>::value_type>...>(
                    each.outcome().take_tuple_value()...);
            },
            branches_);
    }

    when_all_awaiter relocated() noexcept {
        check_unawaited();
        return std::apply([](auto&... each) { return when_all_awaiter(each.take_inner()...); },
                          branches_);
    }
    [[nodiscard]] const frame_link* capturing() noexcept {
        return std::apply([](auto&... each) { return first_capturing(each...); }, branches_);
    }

private:
    std::tuple<branch<Inner>...> branches_;
};

template <typename T>
class [[nodiscard("co_await it")]] when_all_list_awaiter final
    : public branch_list<T>,
      public awaiter_face<when_all_list_awaiter<T>> {
    using typename branch_list<T>::one;

public:
    explicit when_all_list_awaiter(std::vector<task<T>>&& tasks)
        : branch_list<T>("when_all", branch_policy::all, std::move(tasks)) {}

    bool await_ready() const noexcept { return this->branches_.empty(); }
    auto await_resume() {
        this->close();
        if constexpr (!std::is_void_v<T>) {
            std::vector<storable<T>> values;
            values.reserve(this->branches_.size());
            for (one& each : this->branches_) values.push_back(std::move(each.outcome()).get());
            return values;
        }
    }

    when_all_list_awaiter relocated() noexcept {
        this->check_unawaited();
        return when_all_list_awaiter(std::move(this->branches_));
    }

private:
    explicit when_all_list_awaiter(std::vector<one>&& branches) noexcept
        : branch_list<T>("when_all", branch_policy::all, std::move(branches)) {}
};

template <typename... Inner>
inline constexpr bool owns_operands<when_all_awaiter<Inner...>> = (owns_operands<Inner> && ...);
template <typename... Inner>
inline constexpr bool returns_nothing<when_all_awaiter<Inner...>> =
    (std::is_void_v<typename branch<Inner>::value_type> && ...);
template <typename T>
inline constexpr bool owns_operands<when_all_list_awaiter<T>> = true;
template <typename T>
inline constexpr bool returns_nothing<when_all_list_awaiter<T>> = std::is_void_v<T>;

}}}  // namespace coro::v0::detail
