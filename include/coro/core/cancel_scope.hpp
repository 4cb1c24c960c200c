// cancel_scope: the tree along which cancellation, deadlines and stop requests are inherited.
#pragma once

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/base/time.hpp>
#include <coro/core/detail/strand.hpp>

namespace coro { inline namespace v0 {

namespace detail {

struct scope_access;

/// Told when a stop is requested in, or inherited by, the scope it is attached to; with
/// `also_on_cancel`, when that scope is cancelled as well.
class stop_listener : public list_node<stop_listener> {
public:
    explicit stop_listener(void (*on_stop)(stop_listener& self) noexcept) noexcept
        : call(on_stop) {}
    /// Must not resume anybody; may attach or detach other listeners of other scopes.
    void (*call)(stop_listener& self) noexcept;
    bool also_on_cancel = false;
};

}  // namespace detail

/// A region of work that can be cancelled as a whole. Scopes form a tree: cancelling one cancels
/// everything inside, except below a shield. Cancellation is level-triggered: once a scope is
/// cancelled, every await in it throws `cancelled`, until the work has left the scope.
///
/// You meet scopes through with_cancel_scope, task groups, timeouts and shield; none can be made by
/// hand. A scope belongs to its loop: all members must be called there, and abort elsewhere. Code
/// on another loop or thread posts to it (loop_handle::post).
class cancel_scope : private detail::list_node<cancel_scope> {
public:
    /// Cancels everything inside: waits that are pending end with `cancelled`, unless they had
    /// already succeeded; later awaits throw at once. Idempotent, allocates nothing, resumes
    /// nobody.
    CORO_EXPORT void cancel() noexcept;
    /// Whether awaits in this scope throw `cancelled`, by its own cancel() or an enclosing one's.
    [[nodiscard]] bool is_cancelled() const noexcept {
        check_home();
        return cancelled_;
    }

    /// Advises the work inside to end in its own time: serve stops accepting, handlers finish.
    CORO_EXPORT void request_stop() noexcept;
    [[nodiscard]] bool stop_requested() const noexcept {
        check_home();
        return stop_requested_;
    }

    /// The point in time at which this scope or one that encloses it (up to a shield) is cancelled;
    /// `never` if there is none.
    [[nodiscard]] CORO_EXPORT time_point deadline() const noexcept;

private:
    friend class detail::strand;
    friend class detail::intrusive_list<cancel_scope>;
    friend struct detail::scope_access;

    explicit cancel_scope(bool shielded) noexcept : shielded_(shielded) {}
    CORO_EXPORT void open(cancel_scope* parent, detail::strand* owner) noexcept;
    ~cancel_scope() = default;  ///< its lists assert that nothing is inside any more
    cancel_scope(const cancel_scope&) = delete;
    cancel_scope& operator=(const cancel_scope&) = delete;

    /// A scope that a program can name has been opened by a strand, which ends after it.
    void check_home() const noexcept {
        CORO_ASSERT(owner_ == nullptr || owner_->loop == detail::current,
                    "a task_group or cancel_scope was used outside of its loop: post to its loop "
                    "instead (loop_handle::post)");
    }
    void call_listeners(bool on_cancel) noexcept;
    cancel_scope* next_in_tree(const cancel_scope& top) noexcept;
    cancel_scope* next_after_subtree(const cancel_scope& top) noexcept;

    cancel_scope* parent_ = nullptr;
    detail::strand* owner_ = nullptr;  ///< the strand that opened it; nullptr for the root
    detail::frame_link* opener_ = nullptr;  ///< the frame of that strand that did, if any
    detail::intrusive_list<cancel_scope> children_;
    detail::intrusive_list<detail::strand> strands_;  ///< those whose innermost scope this is
    detail::intrusive_list<detail::stop_listener> stop_listeners_;
    time_point own_deadline_ = never;
    bool shielded_;
    bool cancelled_ = false;       ///< effective
    bool cancel_called_ = false;   ///< here, by cancel() or by the own deadline
    bool deadline_passed_ = false; ///< cancelled by the own deadline
    bool stop_requested_ = false;
    bool ends_with_stops_ = false;  ///< who cancels it after a request for a stop ends that
};

namespace detail {

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

}  // namespace detail
}}  // namespace coro::v0
