// The members of a scope that are for the combinators of the library, not for users.
#pragma once

#include <coro/core/cancel_scope.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The members of a scope for the library's own combinators.
struct scope_access {
    /// A scope as a combinator holds it: closed until open().
    class owned : public cancel_scope {
    public:
        explicit owned(bool shielded = false) noexcept : cancel_scope(shielded) {}
    };

    /// Opens `scope` below the one that `strand` is in; does not move the strand into it.
    static void open(cancel_scope& scope, detail::strand& strand) noexcept {
        scope.open(strand.scope, &strand);
    }
    /// Opens `scope` below one that is not the strand's own: the root of another loop.
    static void open_below(cancel_scope& scope, cancel_scope& parent) noexcept {
        scope.open(&parent, nullptr);
    }
    /// The scope at the top of a loop's tree.
    static void open_root(cancel_scope& scope) noexcept { scope.open(nullptr, nullptr); }
    static void close(cancel_scope& scope) noexcept { scope.unlink(); }

    static void enter(detail::strand& strand, cancel_scope& scope) noexcept {
        strand.unlink();
        strand.scope = &scope;
        scope.strands_.push_back(strand);
    }
    /// Where nothing is cancelled any more, the count of ignored cancellations begins anew.
    static void leave(detail::strand& strand, cancel_scope& scope) noexcept {
        enter(strand, *scope.parent_);
        if (!scope.parent_->cancelled_) strand.cancellations = 0;
    }
    static void attach(cancel_scope& scope, stop_listener& listener) noexcept {
        scope.stop_listeners_.push_back(listener);
    }
    static void expire(cancel_scope& scope) noexcept {
        if (!scope.cancelled_) scope.deadline_passed_ = true;
        scope.cancel();
    }
    static void set_deadline(cancel_scope& scope, time_point when) noexcept {
        scope.own_deadline_ = when;
    }
    static time_point own_deadline(const cancel_scope& scope) noexcept {
        return scope.own_deadline_;
    }
    /// is_cancelled(), for those who know that they are on the scope's loop: each wait asks.
    static bool cancelled(const cancel_scope& scope) noexcept { return scope.cancelled_; }
    static void check_home(const cancel_scope& scope) noexcept { scope.check_home(); }
    /// Cancelled here (by cancel() or deadline) while nothing that encloses it was: the one who
    /// opened the scope swallows the `cancelled` that comes out.
    static bool swallows(const cancel_scope& scope) noexcept {
        return scope.cancel_called_ && !outer_cancelled(scope);
    }
    /// Says that `scope` is cancelled because the stop is over, after a request for it. No task
    /// inside has failed or is out of time.
    static void ends_with_stops(cancel_scope& scope) noexcept { scope.ends_with_stops_ = true; }
    /// Whether `scope` is cancelled because a stop is over: that of a scope around it of which that
    /// was said, or of the run.
    static bool stop_is_over(const cancel_scope& scope) noexcept {
        if (!scope.stop_requested_) return false;
        for (const cancel_scope* at = &scope; at != nullptr && at->cancelled_; at = at->parent_)
            if (at->ends_with_stops_ || at->parent_ == nullptr) return true;
        return false;
    }
    static bool deadline_passed(const cancel_scope& scope) noexcept {
        return scope.deadline_passed_;
    }
    static bool outer_cancelled(const cancel_scope& scope) noexcept {
        return scope.parent_ != nullptr && scope.parent_->cancelled_;
    }
    static cancel_scope* parent(const cancel_scope& scope) noexcept { return scope.parent_; }
    static detail::strand* owner(const cancel_scope& scope) noexcept { return scope.owner_; }
    static const frame_link* opener(const cancel_scope& scope) noexcept { return scope.opener_; }
    static bool shielded(const cancel_scope& scope) noexcept { return scope.shielded_; }
    static cancel_scope* next_in_tree(cancel_scope& at, const cancel_scope& top) noexcept {
        return at.next_in_tree(top);
    }
    static detail::strand* first_strand(const cancel_scope& scope) noexcept {
        return scope.strands_.front();
    }
    static detail::strand* next_strand(const cancel_scope& scope, detail::strand& after) noexcept {
        return scope.strands_.next(after);
    }
};

inline strand::strand(detail::loop& on, cancel_scope& in) noexcept
    : loop(&on), scope(&in), number(on.next_task_number++) {
    in.strands_.push_back(*this);
}

/// Counts a delivery of `cancelled`. False: the strand has had so many that it must go through the
/// run queue first. So a loop that swallows them cannot hang the program.
inline bool may_throw_cancelled_now(detail::strand& strand) noexcept {
    return ++strand.cancellations < stubborn_after;
}

}}}  // namespace coro::v0::detail
