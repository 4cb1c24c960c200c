// The frame-less awaiter that runs an awaitable inside a scope of its own: timeouts and shields.
#pragma once

#include <coroutine>
#include <type_traits>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/error.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Opens a scope around `Inner` for the length of the await. `Derived` may override opened() (arm a
/// timer) and closing() (disarm it). It cannot be moved: the scope is linked into the tree.
template <typename Derived, typename Inner>
class scoped_awaiter : public awaiter_face<scoped_awaiter<Derived, Inner>>,
                       public bound_awaiter_tag {
public:
    scoped_awaiter(const scoped_awaiter&) = delete;
    scoped_awaiter& operator=(const scoped_awaiter&) = delete;

    void bind(detail::strand& strand) noexcept {
        CORO_ASSERT(strand_ == nullptr, awaited_twice);
        strand_ = &strand;
        scope_access::open(scope_, strand);
        scope_access::enter(strand, scope_);
        static_cast<Derived*>(this)->opened();
        inner_.bind(strand);
    }
    bool await_ready() { return inner_.await_ready(); }
    bool suspend(frame_link* parent, std::coroutine_handle<> resume) noexcept {
        return inner_.suspend(parent, resume);
    }
    [[nodiscard]] const frame_link* capturing() noexcept { return inner_.capturing(); }

protected:
    scoped_awaiter(Inner&& inner, bool shielded) noexcept
        : inner_(std::move(inner)), scope_(shielded) {}
    ~scoped_awaiter() = default;

    using inner_result = decltype(std::declval<Inner&>().await_resume());

    /// The result of the inner await, after the scope was left.
    inner_result leave_and_resume() {
        const leaver guard{*this};
        return inner_.await_resume();
    }

    /// The same, or nothing when the cancellation is_ours().
    auto leave_and_resume_if_any() {
        try {
            if constexpr (std::is_void_v<inner_result>) {
                leave_and_resume();
                return true;
            } else {
                return value_unless_cancelled<inner_result>(leave_and_resume());
            }
        } catch (const cancelled&) {
            if (!static_cast<Derived*>(this)->is_ours()) throw;
            return value_unless_cancelled<inner_result>{};
        }
    }
    /// Whether the `cancelled` that came out was made by this scope alone.
    [[nodiscard]] bool is_ours() noexcept { return scope_access::swallows(scope_); }

    /// For relocated(). Requires: nobody has awaited it.
    [[nodiscard]] Inner&& take_inner() noexcept {
        CORO_ASSERT(strand_ == nullptr, awaited_twice);
        return std::move(inner_);
    }

    [[nodiscard]] detail::strand& strand() const noexcept { return *strand_; }
    [[nodiscard]] cancel_scope& scope() noexcept { return scope_; }

    void opened() noexcept {}
    void closing() noexcept {}

private:
    struct leaver {
        explicit leaver(scoped_awaiter& of) noexcept : self(of) {}
        leaver(const leaver&) = delete;
        leaver& operator=(const leaver&) = delete;
        ~leaver() {
            static_cast<Derived&>(self).closing();
            scope_access::leave(*self.strand_, self.scope_);
            scope_access::close(self.scope_);
        }
        scoped_awaiter& self;
    };

    detail::strand* strand_ = nullptr;
    Inner inner_;
    scope_access::owned scope_;
};

}}}  // namespace coro::v0::detail
