// The running half of a fiber: its stack, its awaits, its end.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/detail/awaitable.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/detail/switch.hpp>
#include <coro/core/detail/lifetime_checks.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

struct fiber_stack;

/// The state of a thread's exceptions in the C++ runtime: those being handled, and how many are on
/// their way. The layout is that of the Itanium C++ ABI, which g++ and clang share.
struct exception_state {
    void* caught = nullptr;
    unsigned int uncaught = 0;
};

/// The running half of a fiber: the switch to its stack and back. It lives in the frame of its
/// host, a coroutine that awaits it again and again until it has ended. So a fiber is a task to all
/// other code. Its frame in the chain is the host's, and so is its handle: to resume that is to
/// resume the fiber.
class CORO_EXPORT fiber_core : public awaiter_face<fiber_core> {
public:
    fiber_core(const fiber_core&) = delete;
    fiber_core& operator=(const fiber_core&) = delete;

    // The functions of the host.
    void bind(detail::strand& strand) noexcept { strand_ = &strand; }
    bool await_ready() const noexcept { return false; }
    /// Runs the fiber until it waits (true) or has ended (false).
    bool suspend(frame_link* frame, std::coroutine_handle<> host) noexcept {
        detail::loop& loop = *strand_->loop;
        CORO_ASSERT(&loop == current, "a fiber was resumed on another loop than it began on");
        frame_ = frame;
        host_ = host;
        frame->awaiting = site_;  // the host has left its own there
        fiber_core* const outer = std::exchange(loop.fiber, this);
        const unsigned depth = std::exchange(loop.depth, nesting_limit - fiber_nesting_limit);
        // Each stack has exceptions of its own that are being handled or are on their way.
        exception_state& exceptions = *loop.stacks.exceptions;
        const exception_state callers = std::exchange(exceptions, exceptions_);
        void* const jump = loop.stacks.jump;
        context_ = jump != nullptr ? jump_from_here(jump, context_, this)
                                   : to_fiber(context_, this);
        exceptions_ = std::exchange(exceptions, callers);
        loop.depth = depth;
        loop.fiber = outer;
        if (!ended_) return true;
        give_stack_back();
        return false;
    }
    void await_resume() const noexcept {}
    [[nodiscard]] bool has_ended() const noexcept { return ended_; }

    // The functions of the fiber, on its own stack.
    /// Leaves the place of the await that begins, for dumps and for the code that refuses it.
    void begin_await(std::source_location where) noexcept {
        site_ = where;
        frame_->created = where;  // the function that awaits is the one to name
        frame_->awaiting = where;
    }
    /// Awaits `op` here.
    template <typename Op>
    [[gnu::always_inline]] decltype(auto) await_here(Op& op) {
        if (destroying.depth != 0) [[unlikely]] return await_in_destruction(op);
        op.bind(*strand_);
        if (!op.await_ready() && op.suspend(frame_, host_)) leave();
        return op.await_resume();
    }
    /// The same in a destructor that runs because a task is destroyed.
    template <typename Op>
    decltype(auto) await_in_destruction(Op& op) {
        const destruction_pause pause;
        op.bind(*strand_);
        if (!op.await_ready() && op.suspend(frame_, host_)) leave();
        return op.await_resume();
    }
    /// The same while an exception is on its way. A task that it starts begins on the loop's stack:
    /// the exceptions that the task sees must not change while it runs.
    template <typename Op>
    decltype(auto) await_in_unwinding(Op& op) {
        const destruction_pause pause;
        op.bind(*strand_);
        if (!op.await_ready()) {
            const unsigned depth = std::exchange(strand_->loop->depth, nesting_limit);
            const bool waits = op.suspend(frame_, host_);
            strand_->loop->depth = depth;
            if (waits) leave();
        }
        return op.await_resume();
    }
    /// Whether an exception is on its way through the fiber: a destructor asks.
    [[nodiscard]] bool unwinding() const noexcept {
        return strand_->loop->stacks.exceptions->uncaught != 0;
    }
    [[nodiscard]] detail::strand& strand() const noexcept { return *strand_; }
    /// Whether it is this fiber's own code that runs, and not a task that it has started.
    [[nodiscard]] bool is_innermost() const noexcept { return strand_->leaf == frame_; }
    [[nodiscard]] bool is_hosted_by(const frame_link& host) const noexcept {
        return frame_ == &host;
    }
    /// Whether `address` is on its stack.
    [[nodiscard]] bool stack_holds(const void* address) const noexcept;

protected:
    using body_function = void (*)(fiber_core& self) noexcept;

    /// Takes a stack. Throws: io_error (invalid_argument, not_enough_memory).
    fiber_core(std::size_t stack_bytes, body_function body);
    ~fiber_core() = default;

private:
    friend struct fiber_access;

    /// Back to the code that has entered; returns at the next entry.
    [[gnu::always_inline]] void leave() noexcept {
        void* const jump = strand_->loop->stacks.jump;
        caller_ = jump != nullptr ? jump_from_here(jump, caller_, this) : to_caller(caller_, this);
    }

    // Each returns the context that was left for the one in which it returns.
    static void* to_fiber(void* context, fiber_core* self) noexcept;
    static void* to_caller(void* context, fiber_core* self) noexcept;
    void give_stack_back() noexcept;

    detail::strand* strand_ = nullptr;
    frame_link* frame_ = nullptr;
    std::coroutine_handle<> host_{};
    void* context_ = nullptr;  ///< where the fiber goes on, while it does not run
    void* caller_ = nullptr;   ///< where the code that entered goes on, while it runs
    fiber_stack* stack_;
    exception_state exceptions_;
    body_function body_;
    std::source_location site_;  ///< its latest await
    const void* caller_bottom_ = nullptr;  ///< for the sanitizers
    std::size_t caller_size_ = 0;
    void* caller_tsan_ = nullptr;
    bool ended_ = false;
};

/// A function and its arguments, as a fiber keeps them. It is no aggregate, for any types.
template <typename Function, typename... Args>
class fiber_call {
public:
    using result = std::invoke_result_t<Function, Args...>;

    template <typename F, typename... A>
    explicit fiber_call(std::in_place_t, F&& function, A&&... args)
        : function_(std::forward<F>(function)), args_(std::forward<A>(args)...) {}

    result operator()() { return std::apply(std::move(function_), std::move(args_)); }

private:
    Function function_;
    std::tuple<Args...> args_;
};

/// A fiber that runs a call and keeps what comes of it.
template <typename Call>
class fiber_run final : public fiber_core {
    using value = typename Call::result;

public:
    fiber_run(Call& call, std::size_t stack_bytes)
        : fiber_core(stack_bytes, &run_body), call_(call) {}

    value take() {
        if (error_) std::rethrow_exception(std::move(error_));
        if constexpr (std::is_reference_v<value>) return static_cast<value>(result_->get());
        else if constexpr (!std::is_void_v<value>) return std::move(*result_);
    }

private:
    static void run_body(fiber_core& self) noexcept { static_cast<fiber_run&>(self).run(); }
    void run() noexcept {
        try {
            if constexpr (std::is_void_v<value>) call_();
            else result_.emplace(call_());
        } catch (...) {
            error_ = std::current_exception();
        }
    }

    Call& call_;
    std::optional<std::conditional_t<std::is_void_v<value>, bool, storable<value>>> result_;
    std::exception_ptr error_;
};

template <typename Call>
task<typename Call::result> fiber_coroutine(Call call, std::size_t stack_bytes) {
    fiber_run<Call> run(call, stack_bytes);
    while (!run.has_ended()) co_await run;
    co_return run.take();
}

/// The task of a fiber; its function and arguments are copied or moved into it.
template <typename Function, typename... Args>
auto make_fiber(std::size_t stack_bytes, Function&& function, Args&&... args) {
    using call = fiber_call<std::decay_t<Function>, std::decay_t<Args>...>;
    static_assert(!task_type<typename call::result>,
                  "coro: this function is a coroutine already: spawn it, or await it, as a task");
    return fiber_coroutine(call(std::in_place, std::forward<Function>(function),
                                std::forward<Args>(args)...),
                           stack_bytes);
}

/// The fiber behind an address that cannot be touched.
struct stack_overflow {
    const char* name = nullptr;
    std::source_location site;
    std::size_t stack_bytes = 0;
};
/// Whether `address` is in the guard of the stack that this thread runs on. Async-signal-safe.
[[nodiscard]] bool is_stack_overflow(const void* address, stack_overflow& what) noexcept;

// Called by the library coro::checked_statics, which a program links that wants to know of fibers
// that wait in the initialiser of a local static. Between the two calls the running fiber is kept
// out of `loop::fiber`, so that its next await is refused; no other code pays for that.
CORO_EXPORT void static_begins() noexcept;
CORO_EXPORT void static_ends() noexcept;

/// Ends the program: there is no fiber, or it may not wait here.
[[noreturn]] CORO_EXPORT void refuse_await(std::source_location where) noexcept;

/// The fiber that runs; aborts with a sentence where there is none.
inline fiber_core& this_fiber(std::source_location where) noexcept {
    fiber_core* fiber = current != nullptr ? current->fiber : nullptr;
    if (fiber == nullptr || !fiber->is_innermost()) [[unlikely]] refuse_await(where);
    return *fiber;
}

template <typename Function, typename... Args>
concept fiber_callable = std::invocable<std::decay_t<Function>, std::decay_t<Args>...>;

}}}  // namespace coro::v0::detail
