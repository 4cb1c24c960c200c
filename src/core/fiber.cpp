// The switch: from the loop's stack to a fiber's and back, with what the C++ runtime and the
// sanitizers must be told. The only file that knows Boost.Context.
#include <coro/core/fiber.hpp>

#include <boost/context/detail/fcontext.hpp>
#include <cxxabi.h>

#include <utility>

#include <coro/base/assert.hpp>

#include "core/sanitizers.hpp"
#include "core/stack_pool.hpp"

namespace coro::inline v0::detail {

namespace fcontext = boost::context::detail;

/// What the entry function of a stack may touch of the fiber that runs on it.
struct fiber_access {
    /// Runs on the stack: one fiber after the other. Entered by a jump that hands in the fiber.
    [[noreturn]] static void entry(fcontext::transfer_t from) noexcept;
    /// The first thing after a jump to the fiber.
    static void arrive(fiber_core& self, stack_switch& how, void* caller) noexcept {
        self.caller_ = caller;
        how.back(&self.caller_bottom_, &self.caller_size_);
    }
    static bool overflows(const fiber_core& self, const void* address,
                          stack_overflow& what) noexcept {
        const auto* at = static_cast<const std::byte*>(address);
        const fiber_stack& stack = *self.stack_;
        if (at >= stack.bottom || at < stack.bottom - stack_pool::guard_bytes) return false;
        what = {.name = self.strand_->name, .site = self.site_, .stack_bytes = stack.size};
        return true;
    }
};

void fiber_access::entry(fcontext::transfer_t from) noexcept {
    for (;;) {
        fiber_core& self = *static_cast<fiber_core*>(from.data);
        stack_switch how;
        arrive(self, how, from.fctx);
        self.body_(self);
        self.ended_ = true;
        how.leave_to(self.caller_bottom_, self.caller_size_, self.caller_tsan_,
                     !contexts_are_reused);
        from = fcontext::jump_fcontext(self.caller_, nullptr);
    }
}

namespace {

/// The stacks of the running loop.
stack_pool& pool_of(loop_core& loop) {
    if (loop.stacks.pool == nullptr) [[unlikely]] {
        loop.stacks.pool = new stack_pool();
        // A loop belongs to one thread, so that this need not be asked for at every switch.
        loop.stacks.exceptions = reinterpret_cast<exception_state*>(abi::__cxa_get_globals());
    }
    return *loop.stacks.pool;
}

}  // namespace

fiber_stacks::~fiber_stacks() { delete pool; }

fiber_core::fiber_core(std::size_t stack_bytes, body_function body)
    : stack_(&pool_of(*current).take(stack_bytes)), body_(body) {
    if (stack_->context != nullptr && contexts_are_reused) [[likely]] return;
    sanitizer_begin(*stack_);
    stack_->context = fcontext::make_fcontext(stack_->top(), stack_->size, &fiber_access::entry);
}

bool fiber_core::suspend(frame_link* frame, std::coroutine_handle<> host) noexcept {
    loop_core& loop = *strand_->loop;
    CORO_ASSERT(&loop == current, "a fiber was resumed on another loop than the one it began on");
    if (frame_ == nullptr) site_ = frame->created;
    frame_ = frame;
    host_ = host;
    frame->awaiting = site_;  // the host has left its own there
    fiber_core* const outer = std::exchange(loop.fiber, this);
    const unsigned depth = std::exchange(loop.depth, nesting_limit - fiber_nesting_limit);
    // Each stack has exceptions of its own that are being handled or are on their way.
    exception_state& exceptions = *loop.stacks.exceptions;
    const exception_state callers = std::exchange(exceptions, exceptions_);
    caller_tsan_ = sanitizer_here();
    {
        stack_switch how;
        how.leave_to(stack_->bottom, stack_->size, stack_->tsan, false);
        const fcontext::transfer_t from = fcontext::jump_fcontext(stack_->context, this);
        stack_->context = from.fctx;
        how.back(nullptr, nullptr);
    }
    exceptions_ = std::exchange(exceptions, callers);
    loop.depth = depth;
    loop.fiber = outer;
    if (!ended_) return true;
    loop.stacks.pool->give(*std::exchange(stack_, nullptr));
    return false;
}

void fiber_core::leave() noexcept {
    stack_switch how;
    how.leave_to(caller_bottom_, caller_size_, caller_tsan_, false);
    fiber_access::arrive(*this, how, fcontext::jump_fcontext(caller_, nullptr).fctx);
}

bool is_stack_overflow(const void* address, stack_overflow& what) noexcept {
    const fiber_core* running = current != nullptr ? current->fiber : nullptr;
    return running != nullptr && fiber_access::overflows(*running, address, what);
}

}  // namespace coro::inline v0::detail
