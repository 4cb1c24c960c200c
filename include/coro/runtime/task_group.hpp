// Task groups: children that end before the call that started them does.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/core/fiber.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/task.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/runtime/detail/companion_kind.hpp>
#include <coro/runtime/detail/this_strand.hpp>
#include <coro/runtime/this_task.hpp>
#include <coro/runtime/detail/spawn_call.hpp>

namespace coro { inline namespace v0 {

namespace detail {

class group_run;
class group_join;
class child_strand;
class attended_child;
class group_child;
class remote_child;

}  // namespace detail

/// A record that stands beside a child of a group (task_group::spawn_with) and learns of its error.
template <typename Companion>
concept child_companion =
    std::is_nothrow_destructible_v<Companion> && alignof(Companion) <= alignof(std::max_align_t) &&
    requires(Companion& it, const std::exception_ptr& error) {
        { it.failed(error) } noexcept;
    };

class local_task_group;

/// The choice of a group when a child ends with an exception (other than `cancelled`).
enum class on_error : std::uint8_t {
    cancel_siblings,  ///< cancel the group, wait for all, rethrow the first error
    report_and_go_on, ///< hand it to the report hook; keeps none
};

/// Errors of a group beyond the first: up to 16 are kept, then counted. The first is rethrown.
struct group_errors {
    static constexpr std::size_t kept_at_most = 16;

    std::array<std::exception_ptr, kept_at_most> kept;  ///< the first `count` of them
    std::size_t count = 0;
    std::size_t not_kept = 0;
};

struct group_options {
    on_error policy = on_error::cancel_siblings;
    /// The place of further errors; nullptr: their number is told to the report hook.
    group_errors* further = nullptr;
    /// A cancellation of the group after a stop was requested is the end of that stop. Tasks inside
    /// have not failed by it, so their streams end in order (stream::reset_on_failure).
    bool cancel_ends_stop = false;
};

/// spawn_options::loop: that of the group.
inline constexpr unsigned same_loop = ~0u;

struct spawn_options {
    const char* name = nullptr;  ///< for dumps and reports; must outlive the task (a literal)
    /// The loop on which the task runs for all its life: 0 to loop_count() - 1.
    unsigned loop = same_loop;
    bool closure_is_kept = false;  ///< of a lambda's body: the spawner keeps the lambda to its end
    std::size_t stack_bytes = default_stack_bytes;  ///< of a fiber; a task needs none
};

// Options are braced temporaries of awaited expressions: they must own nothing.
static_assert(std::is_trivially_destructible_v<group_options> &&
              std::is_trivially_destructible_v<spawn_options>);

/// Runs children side by side on its loop. Exists only inside with_task_group, which ends after the
/// last child. A group belongs to its loop: its members are called there, and abort elsewhere. Code
/// on another loop or thread posts to it (loop_handle::post).
class task_group {
public:
    task_group(const task_group&) = delete;
    task_group& operator=(const task_group&) = delete;

    /// Starts `child` as a task of its own: queued, never run in place. It inherits cancellation,
    /// deadline and shield from the group; a child of a cancelled group starts and meets
    /// `cancelled` at its first await. Requires: the group has not ended; options.loop is one of
    /// this run; the task is not the body of a capturing lambda (its captures would die first),
    /// unless options.closure_is_kept. Anything else aborts with a sentence. On another loop
    /// messages tell the task of the group's cancellation and stop, and the group of the task's
    /// end. Data that it shares with tasks of other loops must be made for that.
    void spawn(spawn_options options, task<> child) { start(options, std::move(child), {}); }
    void spawn(task<> child) { spawn(spawn_options{}, std::move(child)); }
    /// The same for a combinator of tasks, as in spawn(with_timeout(1s, work())), if what it
    /// returns may be dropped. A span is counted from the start of the child.
    template <detail::owning_operation Operation>
    void spawn(spawn_options options, Operation&& operation) {
        start(options, detail::as_child(std::forward<Operation>(operation)), {});
    }
    template <detail::owning_operation Operation>
    void spawn(Operation&& operation) {
        spawn(spawn_options{}, std::forward<Operation>(operation));
    }

    /// Calls `make(args…)` and spawns the task it returns. `make` is a function, a lambda without
    /// captures, an object with operator() or a pointer to member. It and the arguments are copied
    /// or moved, as std::thread does, and live until the child has ended. Parameters may be views
    /// of them and references to them. To hand in a reference to something of one's own, which must
    /// outlive the child, say std::ref.
    template <typename Function, typename... Args>
        requires(!detail::owning_operation<Function>)
    void spawn(spawn_options options, Function make, Args&&... args) {
        spawn_call(options, make, std::forward<Args>(args)...);
    }
    template <typename Function, typename... Args>
        requires(!std::same_as<Function, spawn_options> && !detail::owning_operation<Function>)
    void spawn(Function make, Args&&... args) {
        spawn_call(spawn_options{}, make, std::forward<Args>(args)...);
    }

    /// Starts `child` with a `Companion(args…)` beside it, in the same block of memory. It is a
    /// record that the spawner keeps for each child: a permit, a count. It costs no coroutine. It
    /// is told of an exception that ends the child, `cancelled` excepted, by `failed(error)`; the
    /// policy of the group then does not apply. If it has `started(number) noexcept`, that is
    /// called first, with the task's number (task_view::number). It is destroyed after the task.
    /// Requires: as spawn; options.loop is that of the group (aborts).
    /// Throws: what the constructor of `Companion` throws, std::bad_alloc; then nothing runs.
    template <child_companion Companion, typename... Args>
    void spawn_with(spawn_options options, task<> child, Args&&... args) {
        auto make = [&](void* where) { ::new (where) Companion(std::forward<Args>(args)...); };
        static constexpr detail::companion_kind kind =
            detail::companion_kind_of<Companion, decltype(make)>();
        start_with(options, std::move(child), kind, &make);
    }

    /// Starts a fiber that calls `function(args…)`, as coro::fiber does; a child like any other. A
    /// capturing lambda is fine, and so are references to the arguments: both live in the fiber.
    template <typename Function, typename... Args>
        requires detail::fiber_callable<Function, Args...>
    void spawn_fiber(spawn_options options, Function&& function, Args&&... args) {
        using result = std::invoke_result_t<std::decay_t<Function>, std::decay_t<Args>...>;
        static_assert(std::is_void_v<result> || detail::task_type<result>,
                      "coro: nobody would see what this fiber returns: hand the value out by a "
                      "reference or a channel, or await it with coro::fiber");
        std::unique_ptr<detail::loan> loans;
        if (options.loop == same_loop) (note_loan(loans, args, true), ...);
        start(options,
              detail::make_fiber(options.stack_bytes, std::forward<Function>(function),
                                 std::forward<Args>(args)...),
              {nullptr, std::move(loans)});
    }
    template <typename Function, typename... Args>
        requires detail::fiber_callable<Function, Args...>
    void spawn_fiber(Function&& function, Args&&... args) {
        spawn_fiber(spawn_options{}, std::forward<Function>(function),
                    std::forward<Args>(args)...);
    }

    /// Returns nothing, once all children have ended, those as well that are spawned meanwhile; the
    /// body may spawn again after it. At the end of a body it lets children refer to variables of
    /// the body. (An exception between the spawn and the join, a cancellation too, ends the body
    /// before such a child, and so the program. Then declare the variable before the group.)
    /// Requires: awaited by the body of the group, or in a task that the body awaits (aborts: a
    /// child would wait for itself).
    /// Suspends until the last child has ended; resumes on this loop. Throws: cancelled; when the
    /// group is cancelled only after the last child has ended.
    /// Cancel safety: a scope inside of the body, as that of a deadline around the join, ends the
    /// wait alone; the children go on.
    [[nodiscard("co_await it")]] CORO_EXPORT task<> join();

    /// Cancels the body and all children. with_task_group (without a value) then ends normally.
    void cancel() noexcept { scope_.cancel(); }
    /// Advises all children to end in their own time.
    void request_stop() noexcept { scope_.request_stop(); }
    [[nodiscard]] bool is_cancelled() const noexcept { return scope_.is_cancelled(); }
    [[nodiscard]] cancel_scope& scope() noexcept { return scope_; }
    /// Children that have not ended.
    [[nodiscard]] std::size_t size() const noexcept {
        detail::scope_access::check_home(scope_);
        return alive_;
    }

private:
    friend class detail::group_run;
    friend class detail::group_join;
    friend class detail::child_strand;
    friend class detail::attended_child;
    friend class detail::group_child;
    friend class detail::remote_child;
    friend class local_task_group;

    CORO_EXPORT explicit task_group(group_options options) noexcept;
    CORO_EXPORT ~task_group();
    CORO_EXPORT void start(spawn_options options, task<> child, detail::child_needs needs);
    CORO_EXPORT void start_with(const spawn_options& options, task<> child,
                                const detail::companion_kind& kind, void* arguments);
    void check_spawn(const spawn_options& options, task<>& child) const noexcept;
    template <typename Function, typename... Args>
    void spawn_call(const spawn_options& options, Function& make, Args&&... args) {
        using call = detail::spawned_call<Function, std::decay_t<Args>...>;
        std::unique_ptr<detail::loan> loans;
        if (options.loop == same_loop) {  // the end of a task on another loop is known too late
            [[maybe_unused]] std::size_t index = 0;
            (note_loan(loans, args,
                       detail::borrowed_arguments<Function, std::decay_t<Args>...>[index++]),
             ...);
        }
        if constexpr (!detail::check_spawn<Function, std::decay_t<Args>...>()) {
            return;  // a sentence has been said
        } else if constexpr (call::at_once) {
            start(options, make(std::decay_t<Args>(std::forward<Args>(args))...),
                  {nullptr, std::move(loans)});
        } else if constexpr (call::known) {
            // A unique_ptr to each type of call would cost the compiler a fifth of this function.
            using kept_call = detail::kept_call<Function, typename call::arguments>;
            auto* const made =
                new kept_call(std::in_place, std::move(make), std::forward<Args>(args)...);
            std::unique_ptr<detail::kept_base> kept(made);
            task<> child = made->make();
            // An object with state may own the closure whose body this is: it is kept as well.
            spawn_options how = options;
            how.closure_is_kept |= !std::is_pointer_v<Function> && !std::is_empty_v<Function>;
            start(how, std::move(child), {std::move(kept), std::move(loans)});
        } else {
            using unknown = detail::unknown_call<Function, std::decay_t<Args>...>;
            start(options,
                  unknown::run(unknown(std::in_place, std::move(make),
                                       std::forward<Args>(args)...)),
                  {nullptr, std::move(loans)});
        }
    }
    template <typename Arg>
    void note_loan([[maybe_unused]] std::unique_ptr<detail::loan>& loans,
                   [[maybe_unused]] const Arg& arg, [[maybe_unused]] bool borrowed) const {
        using kept = std::decay_t<const Arg>;
        if constexpr (detail::referring<kept>)
            if (borrowed) detail::lend(loans, detail::referent<kept>(arg), this);
    }
    CORO_EXPORT void keep_error(std::exception_ptr error) noexcept;
    /// Tells how many errors were not kept, and throws the first one if there was any.
    void throw_first_error();
    void child_ended(const char* name, std::exception_ptr error) noexcept;
    void leave() noexcept;  ///< a child has gone
    /// The cancellation of a scope around the group has ended a child. The task that waits for the
    /// group must not go on as if all had been done.
    [[nodiscard]] bool was_cut_off() const noexcept {
        return cut_off_ && detail::scope_access::outer_cancelled(scope_);
    }

    detail::scope_access::owned scope_;
    std::size_t alive_ = 0;
    detail::group_join* joiner_ = nullptr;
    std::exception_ptr first_error_;
    group_options options_;
    std::size_t uncounted_ = 0;  ///< errors beyond the first when nobody keeps them
    bool joined_ = false;
    bool cut_off_ = false;  ///< a child ended with `cancelled`
};

namespace detail {

/// Waits until there is no child. When it goes on there may be one again: a task that has run in
/// between may have spawned it. A cancellation of the group does not end it: that reaches the
/// children by their scope. One of a scope inside of the body does if it is `withdrawable`.
class CORO_EXPORT group_join final : public wait_point, public awaiter_face<group_join> {
public:
    explicit group_join(task_group& group, bool withdrawable = false) noexcept
        : group_(group), withdrawable_(withdrawable) {}

    void bind(detail::strand& strand) noexcept { strand_ = &strand; }
    bool await_ready() const noexcept { return group_.alive_ == 0; }
    bool suspend(frame_link*, std::coroutine_handle<> resume) noexcept {
        strand_->resume_point = resume;
        strand_->wait_on(*this);
        group_.joiner_ = this;
        return true;
    }
    void await_resume() const {
        if (withdrawn_) throw cancelled();
    }

    void last_child_ended() noexcept { strand_->loop->make_ready(*strand_); }
    void cancel_wait() noexcept override;
    void describe(text_sink& out) const noexcept override;

private:
    task_group& group_;
    bool withdrawable_;
    bool withdrawn_ = false;
    detail::strand* strand_ = nullptr;
};

/// The life of a group inside the coroutine of with_task_group: open, body, join, verdict.
class group_run {
public:
    explicit group_run(group_options options) noexcept : group(options), strand_(this_strand()) {
        scope_access::open(group.scope_, strand_);
        scope_access::enter(strand_, group.scope_);
        if (options.cancel_ends_stop) scope_access::ends_with_stops(group.scope_);
    }
    group_join join() noexcept { return group_join(group); }
    /// The body has thrown: its error is one of the group's, in the order in which they came.
    CORO_EXPORT void body_failed(const std::exception_ptr& error) noexcept;
    /// Leaves the scope. Requires: joined.
    CORO_EXPORT void leave() noexcept;
    /// Throws what the group has to throw after leave(), given what the body threw: the first
    /// error of all, or `cancelled`. Returns normally if the body's value (or end) stands, or if
    /// its `cancelled` was the group's own doing.
    CORO_EXPORT void judge(std::exception_ptr from_body);
    [[nodiscard]] bool was_cut_off() const noexcept { return group.was_cut_off(); }

    task_group group;

private:
    detail::strand& strand_;
};

CORO_EXPORT bool is_cancelled_exception(const std::exception_ptr& error) noexcept;

template <typename Body>
task<body_value<Body, task_group&>> group_coroutine(Body body, group_options options) {
    using value = body_value<Body, task_group&>;
    group_run run(options);
    std::exception_ptr error;
    if constexpr (std::is_void_v<value>) {
        try {
            co_await static_cast<std::unwrap_reference_t<Body>&>(body)(run.group);
        } catch (...) {
            error = std::current_exception();
        }
        if (error) run.body_failed(error);
        while (run.group.size() != 0) co_await run.join();
        run.leave();
        run.judge(std::move(error));
        if (run.was_cut_off()) throw cancelled();
    } else {
        std::optional<storable<value>> result;
        try {
            result.emplace(co_await static_cast<std::unwrap_reference_t<Body>&>(body)(run.group));
        } catch (...) {
            error = std::current_exception();
        }
        if (error) run.body_failed(error);
        while (run.group.size() != 0) co_await run.join();
        run.leave();
        run.judge(error);
        if (error) std::rethrow_exception(std::move(error));
        co_return std::move(*result);
    }
}

}  // namespace detail

inline void task_group::leave() noexcept {
    if (--alive_ == 0 && joiner_ != nullptr) std::exchange(joiner_, nullptr)->last_child_ended();
}

/// Returns what the body returns: calls `body(group)`, and awaits the task it returns and then all
/// children of the group. When the body throws, or a child does under on_error::cancel_siblings,
/// the others are cancelled and awaited first. `body` is kept to the end and may capture.
/// Suspends until the last child has ended; resumes on this loop.
/// Throws: the first error of body or children; cancelled, if the cancellation of an enclosing
/// scope ended the body or a child. It is cancelled too if the group cancelled itself and a value
/// is missing. A value that the body had before it was cancelled is returned all the same.
/// Cancel safety: that of the children.
template <typename Body>
    requires std::invocable<std::unwrap_reference_t<std::decay_t<Body>>&, task_group&>
[[nodiscard("co_await it or spawn it")]] auto with_task_group(
    Body&& body, group_options options = {}) {
    detail::check_body_callable<Body>();
    if constexpr (detail::check_body_task<Body, task_group&>())
        return detail::group_coroutine<std::decay_t<Body>>(std::forward<Body>(body), options);
}

}}  // namespace coro::v0
