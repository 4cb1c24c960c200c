// Branches: the strands that when_all and when_any run side by side, and the set that awaits them.
#pragma once

#include <concepts>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <coro/base/detail/assert.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/core/detail/strand.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

class branch_base;
class branch_set;

/// The strand of a branch. Its first resumption begins the awaitable. Later ones resume the
/// innermost frame (resume_point). Where there is none, they say that an operation without a frame
/// has ended.
class branch_strand final : public strand {
public:
    branch_strand(branch_set& set, branch_base& of) noexcept;

    branch_base& branch;
};

enum class branch_end : std::uint8_t { value, error, cancelled };

/// One branch without the type of what it awaits.
class branch_base {
public:
    branch_base(const branch_base&) = delete;
    branch_base& operator=(const branch_base&) = delete;

protected:
    branch_base() noexcept = default;
    virtual ~branch_base() = default;

private:
    friend class branch_set;
    friend class branch_strand;

    /// Starts the awaitable in `strand`; false: it has ended already.
    virtual bool begin(detail::strand& strand) noexcept = 0;
    /// Fetches the outcome; called once, in the branch's strand. `telling`: an error that nobody
    /// reads is to be told to the report hook.
    virtual branch_end take(bool telling) noexcept = 0;
    [[nodiscard]] virtual const std::exception_ptr& error() const noexcept = 0;

    branch_set* set_ = nullptr;
    std::size_t index_ = 0;
    bool begun_ = false;
    bool settled_ = false;  ///< ended, or as good as ended: what it waited for was granted
    std::optional<branch_strand> strand_;
};

enum class branch_policy : std::uint8_t {
    all,  ///< the first error cancels the others
    any,  ///< the first end cancels the others
};

/// The common part of when_all and when_any: a scope with branches in it, and the strand that waits
/// until all have ended. Branches go through the run queue in order and never start in place, so
/// that each has the loop's next-slot for itself.
class CORO_EXPORT branch_set : public wait_point, public bound_awaiter_tag {
public:
    /// The scope hands cancellation to the branches; the wait for their end cannot be withdrawn.
    void cancel_wait() noexcept override {}
    void describe(text_sink& out) const noexcept override;

    void bind(detail::strand& strand) noexcept {
        CORO_ASSERT(owner_ == nullptr, awaited_twice);
        owner_ = &strand;
    }

protected:
    branch_set(const char* verb, branch_policy policy) noexcept : verb_(verb), policy_(policy) {}
    virtual ~branch_set() = default;

    /// For relocated().
    void check_unawaited() const noexcept { CORO_ASSERT(owner_ == nullptr, awaited_twice); }

    /// The owner begins to wait; `resume` is where it goes on.
    void open(std::coroutine_handle<> resume) noexcept;
    void start(branch_base& branch) noexcept;
    /// All branches have ended. Under policy `all` it throws the first error, or `cancelled` when
    /// that is why a value is missing. Under `any` it throws `cancelled` when an enclosing scope is
    /// cancelled and there is no value.
    void close();
    /// The index of the branch that ended first; one whose wait was granted has ended.
    [[nodiscard]] std::size_t first() const noexcept { return first_; }

private:
    friend class branch_strand;

    static const strand_kind racing;  ///< tells its set of grants
    static const strand_kind plain;
    static void resume_branch(detail::strand& strand) noexcept;
    static void finish_branch(detail::strand& strand) noexcept;
    static void granted_branch(detail::strand& strand) noexcept;
    void settle(branch_base& branch) noexcept;
    void ended(branch_base& branch, branch_end how) noexcept;

    const char* verb_;
    branch_policy policy_;
    bool cancelled_branch_ = false;
    detail::strand* owner_ = nullptr;
    scope_access::owned scope_;
    std::size_t started_ = 0;
    std::size_t settled_ = 0;
    std::size_t alive_ = 0;
    std::size_t first_ = 0;
    std::size_t values_ = 0;  ///< branches that ended with a value
    std::size_t further_errors_ = 0;
    std::exception_ptr first_error_;
};

/// How a value stands in a tuple of results.
template <typename T>
using tuple_value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

CORO_EXPORT void report_unread_error(const std::exception_ptr& error) noexcept;

/// The result of a branch: a value, or the exception instead of it.
template <typename T>
class branch_outcome {
    using stored = storable<tuple_value<T>>;

public:
    branch_outcome() noexcept = default;
    branch_outcome(branch_outcome&& other) noexcept(std::is_nothrow_move_constructible_v<stored>)
        : value_(std::move(other.value_)),
          error_(std::move(other.error_)),
          telling_(std::exchange(other.telling_, false)) {}
    branch_outcome& operator=(branch_outcome&& other) noexcept(
        std::is_nothrow_move_constructible_v<stored> && std::is_nothrow_move_assignable_v<stored>) {
        if (this == &other) return *this;
        tell();
        value_ = std::move(other.value_);
        error_ = std::move(other.error_);
        telling_ = std::exchange(other.telling_, false);
        return *this;
    }
    ~branch_outcome() { tell(); }

    [[nodiscard]] bool has_value() const noexcept { return value_.has_value(); }
    [[nodiscard]] const std::exception_ptr& error() const noexcept { return error_; }

    /// The value; throws the exception if there is none.
    decltype(auto) get() & {
        if (error_) rethrow();
        if constexpr (std::is_reference_v<T>) return static_cast<T>(value_->get());
        else if constexpr (!std::is_void_v<T>) return (*value_);
    }
    T get() && {
        if (error_) rethrow();
        if constexpr (std::is_reference_v<T>) return static_cast<T>(value_->get());
        else if constexpr (!std::is_void_v<T>) return std::move(*value_);
    }

    /// The value as it stands in a tuple. Requires: has_value().
    tuple_value<T> take_tuple_value() {
        if constexpr (std::is_void_v<T>) return {};
        else return std::move(*this).get();
    }

    /// Stores what `inner.await_resume()` returns or throws. `telling`: when an error (other than
    /// `cancelled`) is not read by get(), it is told to the report hook in the end.
    template <typename Inner>
    branch_end fill(Inner& inner, bool telling) noexcept {
        try {
            if constexpr (std::is_void_v<T>) {
                inner.await_resume();
                value_.emplace();
            } else {
                value_.emplace(inner.await_resume());
            }
            return branch_end::value;
        } catch (const cancelled&) {
            error_ = std::current_exception();
            return branch_end::cancelled;
        } catch (...) {
            error_ = std::current_exception();
            telling_ = telling;
            return branch_end::error;
        }
    }

private:
    [[noreturn]] void rethrow() {
        telling_ = false;
        std::rethrow_exception(error_);
    }
    void tell() noexcept {
        if (telling_) [[unlikely]] report_unread_error(error_);
    }

    std::optional<stored> value_;
    std::exception_ptr error_;
    bool telling_ = false;
};

/// A branch that awaits an `Inner`: a task, held by value, or an operation, by reference.
template <typename Inner>
class branch final : public branch_base {
public:
    using value_type = decltype(std::declval<Inner&>().await_resume());

    template <typename From>
        requires std::constructible_from<Inner, From>
    explicit branch(From&& from) noexcept : inner_(std::forward<From>(from)) {}

    [[nodiscard]] branch_outcome<value_type>& outcome() noexcept { return outcome_; }

    /// For relocated().
    [[nodiscard]] Inner&& take_inner() noexcept { return std::move(inner_); }
    [[nodiscard]] const frame_link* capturing() noexcept { return inner_.capturing(); }

private:
    bool begin(detail::strand& strand) noexcept override {
        inner_.bind(strand);
        return !inner_.await_ready() && inner_.suspend(nullptr, {});
    }
    branch_end take(bool telling) noexcept override { return outcome_.fill(inner_, telling); }
    [[nodiscard]] const std::exception_ptr& error() const noexcept override {
        return outcome_.error();
    }

    Inner inner_;
    branch_outcome<value_type> outcome_;
};

/// The body of a lambda with captures among the tasks of `branches`; null when there is none.
template <typename... Branches>
[[nodiscard]] const frame_link* first_capturing(Branches&... branches) noexcept {
    const frame_link* found = nullptr;
    ((found = found != nullptr ? found : branches.capturing()), ...);
    return found;
}

/// The tasks of when_all and when_any that are given as a list.
template <typename T>
class branch_list : public branch_set {
public:
    bool suspend(frame_link* /*parent*/, std::coroutine_handle<> resume) noexcept {
        open(resume);
        for (one& each : branches_) start(each);
        return true;
    }
    [[nodiscard]] const frame_link* capturing() noexcept {
        for (one& each : branches_)
            if (const frame_link* found = each.capturing(); found != nullptr) return found;
        return nullptr;
    }

protected:
    using one = branch<owning_task_awaiter<T>>;

    branch_list(const char* verb, branch_policy policy, std::vector<task<T>>&& tasks)
        : branch_set(verb, policy),
          branches_(std::make_move_iterator(tasks.begin()), std::make_move_iterator(tasks.end())) {}
    /// For relocated().
    branch_list(const char* verb, branch_policy policy, std::vector<one>&& branches) noexcept
        : branch_set(verb, policy), branches_(std::move(branches)) {}

    std::vector<one> branches_;
};

}}}  // namespace coro::v0::detail
