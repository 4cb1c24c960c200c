// The awaiters of when_any: of fixed branches, and of a list of tasks.
#pragma once

#include <coroutine>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <coro/base/detail/assert.hpp>
#include <coro/core/detail/branch.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 {
template <typename... T>
class when_any_result;
template <typename T>
class when_any_list;
}}  // namespace coro::v0

namespace coro { inline namespace v0 { namespace detail {

template <typename... Inner>
class [[nodiscard("co_await it")]] when_any_awaiter final
    : public branch_set,
      public awaiter_face<when_any_awaiter<Inner...>> {
public:
    explicit when_any_awaiter(Inner&&... inner) noexcept
        : branch_set("when_any", branch_policy::any), branches_(std::move(inner)...) {}

    bool await_ready() const noexcept { return false; }
    bool suspend(frame_link* /*parent*/, std::coroutine_handle<> resume) noexcept {
        open(resume);
        std::apply([this](auto&... each) { (start(each), ...); }, branches_);
        return true;
    }
    when_any_result<typename branch<Inner>::value_type...> await_resume() {
        close();
        return std::apply(
            [this](auto&... each) {
                return when_any_result<typename branch<Inner>::value_type...>(
                    first(), std::move(each.outcome())...);
            },
            branches_);
    }

    when_any_awaiter relocated() noexcept {
        check_unawaited();
        return std::apply([](auto&... each) { return when_any_awaiter(each.take_inner()...); },
                          branches_);
    }
    [[nodiscard]] const frame_link* capturing() noexcept {
        return std::apply([](auto&... each) { return first_capturing(each...); }, branches_);
    }

private:
    std::tuple<branch<Inner>...> branches_;
};

template <typename T>
class [[nodiscard("co_await it")]] when_any_list_awaiter final
    : public branch_list<T>,
      public awaiter_face<when_any_list_awaiter<T>> {
    using typename branch_list<T>::one;

public:
    explicit when_any_list_awaiter(std::vector<task<T>>&& tasks)
        : branch_list<T>("when_any", branch_policy::any, std::move(tasks)) {
        CORO_ASSERT(!this->branches_.empty(), "when_any of an empty list would never end");
    }

    bool await_ready() const noexcept { return false; }
    when_any_list<T> await_resume() {
        this->close();
        std::vector<branch_outcome<T>> outcomes;
        outcomes.reserve(this->branches_.size());
        for (one& each : this->branches_) outcomes.push_back(std::move(each.outcome()));
        return when_any_list<T>(this->first(), std::move(outcomes));
    }

    when_any_list_awaiter relocated() noexcept {
        this->check_unawaited();
        return when_any_list_awaiter(std::move(this->branches_));
    }

private:
    explicit when_any_list_awaiter(std::vector<one>&& branches) noexcept
        : branch_list<T>("when_any", branch_policy::any, std::move(branches)) {}
};

template <typename... Inner>
inline constexpr bool owns_operands<when_any_awaiter<Inner...>> = (owns_operands<Inner> && ...);
template <typename... Inner>
inline constexpr bool returns_nothing<when_any_awaiter<Inner...>> =
    (std::is_void_v<typename branch<Inner>::value_type> && ...);
template <typename T>
inline constexpr bool owns_operands<when_any_list_awaiter<T>> = true;
template <typename T>
inline constexpr bool returns_nothing<when_any_list_awaiter<T>> = std::is_void_v<T>;

}}}  // namespace coro::v0::detail
