// How the deadlines around an awaitable work: a scope and its timer.
#pragma once

#include <source_location>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/core/detail/scoped.hpp>
#include <coro/runtime/detail/timer.hpp>
#include <coro/runtime/detail/this_strand.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The timer that cancels a scope at its deadline.
class scope_timer : public timer_node {
public:
    explicit scope_timer(cancel_scope& scope) noexcept : timer_node(&fire), scope_(scope) {}

    void arm(detail::loop& loop, time_point deadline) noexcept {
        scope_access::set_deadline(scope_, deadline);
        if (deadline == never) return;
        if (deadline <= loop.read_clock()) scope_access::expire(scope_);
        else loop.arm_timer(*this, deadline);
    }
    void disarm(detail::loop& loop) noexcept {
        if (armed()) loop.disarm_timer(*this);
    }

private:
    static void fire(timer_node& fired) noexcept {
        scope_access::expire(static_cast<scope_timer&>(fired).scope_);
    }
    cancel_scope& scope_;
};

/// A time that is given as a span is counted from the moment of the await, not of the call.
struct time_limit {
    duration span = duration::max();
    time_point point = never;

    [[nodiscard]] time_point from_now(detail::loop& loop) const noexcept {
        return point != never || span == duration::max() ? point
                                                         : saturating_add(loop.read_clock(), span);
    }
};

/// `with_timeout of 5 s at server.cpp:31: deadline exceeded`: which one it is, among deadlines that
/// enclose each other. Its endpoint() is that of `found`.
[[noreturn]] CORO_EXPORT void throw_deadline_exceeded(const char* verb, const time_limit& limit,
                                                      const std::source_location& where,
                                                      const cancelled& found);

template <typename Derived, typename Inner>
class deadline_awaiter : public scoped_awaiter<Derived, Inner> {
    using base = scoped_awaiter<Derived, Inner>;
    friend base;

protected:
    deadline_awaiter(Inner&& inner, time_limit limit, bool shielded) noexcept
        : base(std::move(inner), shielded), limit_(limit), timer_(this->scope()) {}
    ~deadline_awaiter() = default;

    /// The `cancelled` that came out is ours to turn into something else: our own deadline made it,
    /// and nothing that encloses us is cancelled.
    [[nodiscard]] bool is_ours() noexcept {
        return scope_access::deadline_passed(this->scope()) &&
               (scope_access::shielded(this->scope()) ||
                !scope_access::outer_cancelled(this->scope()));
    }

private:
    void opened() noexcept {
        detail::loop& loop = *this->strand().loop;
        timer_.arm(loop, limit_.from_now(loop));
    }
    void closing() noexcept { timer_.disarm(*this->strand().loop); }

protected:
    time_limit limit_;

private:
    scope_timer timer_;
};

/// Throws errc::deadline_exceeded.
template <typename Inner>
class [[nodiscard("co_await it")]] timeout_awaiter final
    : public deadline_awaiter<timeout_awaiter<Inner>, Inner> {
    using base = deadline_awaiter<timeout_awaiter<Inner>, Inner>;
    friend base;
    template <typename, typename>
    friend class scoped_awaiter;

public:
    timeout_awaiter(Inner&& inner, time_limit limit, const char* verb,
                    const std::source_location& where, bool shielded = false) noexcept
        : base(std::move(inner), limit, shielded), verb_(verb), where_(where) {}

    decltype(auto) await_resume() {
        try {
            return this->leave_and_resume();
        } catch (const cancelled& found) {
            if (this->is_ours()) throw_deadline_exceeded(verb_, this->limit_, where_, found);
            throw;
        }
    }

    timeout_awaiter relocated() noexcept {
        return timeout_awaiter(this->take_inner(), this->limit_, verb_, where_,
                               scope_access::shielded(this->scope()));
    }

private:
    const char* verb_;
    std::source_location where_;
};

/// Returns an empty optional (false, for void) when the deadline came first.
template <typename Inner>
class [[nodiscard("co_await it")]] move_on_awaiter final
    : public deadline_awaiter<move_on_awaiter<Inner>, Inner> {
    using base = deadline_awaiter<move_on_awaiter<Inner>, Inner>;
    friend base;
    template <typename, typename>
    friend class scoped_awaiter;

public:
    move_on_awaiter(Inner&& inner, time_limit limit) noexcept
        : base(std::move(inner), limit, false) {}

    auto await_resume() { return this->leave_and_resume_if_any(); }

    move_on_awaiter relocated() noexcept {
        return move_on_awaiter(this->take_inner(), this->limit_);
    }
};

template <typename Inner>
inline constexpr bool owns_operands<timeout_awaiter<Inner>> = owns_operands<Inner>;
template <typename Inner>
inline constexpr bool owns_operands<move_on_awaiter<Inner>> = owns_operands<Inner>;
template <typename Inner>
inline constexpr bool returns_nothing<move_on_awaiter<Inner>> =
    std::is_void_v<decltype(std::declval<Inner&>().await_resume())>;

template <branchable Awaitable>
timeout_awaiter<held<Awaitable>> limited(Awaitable&& awaitable, time_limit limit, const char* verb,
                                         const std::source_location& where, bool shielded = false) {
    return timeout_awaiter<held<Awaitable>>(hold(std::forward<Awaitable>(awaitable)), limit, verb,
                                            where, shielded);
}
template <branchable Awaitable>
move_on_awaiter<held<Awaitable>> left_behind(Awaitable&& awaitable, time_limit limit) {
    return move_on_awaiter<held<Awaitable>>(hold(std::forward<Awaitable>(awaitable)), limit);
}

}}}  // namespace coro::v0::detail
