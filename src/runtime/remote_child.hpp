// A task of a group that runs on another loop than the group's.
//
// The group (home) and the task (away) never touch each other's state; they send messages, each at
// most once, each a member of the record, so that nothing on the way of a cancellation allocates:
//
//   home                                   away
//    │── start ──────────────────────────► │  makes strand and scope, runs
//    │── stop, cancel (if the group does)─► │  asks its scope to stop, cancels it
//    │ ◄───────────────────────────── done ─│  destroyed task, strand and scope
//    │── release, if stop or cancel were ─► │  frees the record: messages come in order, so no
//    │   sent; else frees the record        │  earlier one is still under way
//
// The scope of the task hangs below the root of its loop, shielded: what cancels it is the group.
#pragma once

#include <exception>
#include <optional>

#include <coro/runtime/task_group.hpp>

namespace coro { inline namespace v0 { namespace detail {

class remote_child final : private stop_listener {
public:
    /// Requires: this is the loop of `group`; `away` is another one of its run.
    static void start(task_group& group, detail::loop& away, const spawn_options& options,
                      task<>&& child, child_needs&& needs);

private:
    using message = message_of<remote_child>;
    /// The strand, on the other loop.
    class child_strand final : public strand {
    public:
        child_strand(detail::loop& on, cancel_scope& in, remote_child& record) noexcept;
        remote_child& record;
    };

    remote_child(task_group& group, detail::loop& away, const spawn_options& options,
                 task<>&& child, child_needs&& needs) noexcept;
    ~remote_child() = default;

    void send(message& what, detail::loop& to, void (*run)(posted& self) noexcept) noexcept;
    void group_has_changed() noexcept;  // home
    void begin() noexcept;              // away
    void cancel_as_the_group() noexcept;  // away
    void ended() noexcept;              // away
    void finish() noexcept;             // home
    void destroy() noexcept;

    detail::loop& home_;
    detail::loop& away_;
    task_group& group_;
    const char* name_;
    time_point deadline_;
    message start_, stop_, cancel_, done_, release_;
    bool born_stopped_ = false;    ///< what the group had been told before it spawned
    bool born_cancelled_ = false;
    bool told_stop_ = false;       ///< home: the message was sent, or need not be
    bool told_cancel_ = false;
    bool stop_over_ = false;       ///< what cancelled the group was the end of a stop; see scope_
    bool messages_sent_ = false;   ///< home: stop or cancel may be under way

    // away
    scope_access::owned scope_{true};
    std::optional<child_strand> strand_;
    child_needs needs_;
    std::optional<task<>> task_;
    std::exception_ptr error_;
};

}}}  // namespace coro::v0::detail
