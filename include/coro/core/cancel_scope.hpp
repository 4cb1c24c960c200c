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
    /// Must not resume a strand; may attach or detach other listeners of other scopes.
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
    bool ends_with_stops_ = false;  ///< a cancel after a request for a stop ends that
};

}}  // namespace coro::v0

#include <coro/core/detail/scope_access.hpp>
