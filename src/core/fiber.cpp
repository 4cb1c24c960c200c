// The switch: from the loop's stack to a fiber's and back, with what the C++ runtime and the
// sanitizers must be told. The only file that knows Boost.Context.
#include <coro/core/fiber.hpp>

#include <boost/context/detail/fcontext.hpp>
#include <cxxabi.h>

#include <utility>

#include <coro/base/detail/assert.hpp>

#include "core/sanitizers.hpp"
#include "core/stack_pool.hpp"

namespace coro { inline namespace v0 { namespace detail {

namespace fcontext = boost::context::detail;

/// The members of a fiber that the functions of this file may touch.
struct fiber_access {
    /// Runs on the stack: one fiber after the other. Entered by a jump that hands in the fiber.
    [[noreturn]] static void entry(fcontext::transfer_t from) noexcept;
    /// Goes to the fiber's stack and comes back.
    static void* enter(void* context, fiber_core& self) noexcept {
        self.caller_tsan_ = sanitizer_here();
        stack_switch how;
        how.leave_to(self.stack_->bottom, self.stack_->size, self.stack_->tsan, false);
        const fcontext::transfer_t from = fcontext::jump_fcontext(context, &self);
        how.back(nullptr, nullptr);
        return from.fctx;
    }
    /// Goes back to the caller's stack and, unless `last`, returns when it is entered again.
    static void* leave(void* context, fiber_core& self, bool last) noexcept {
        stack_switch how;
        how.leave_to(self.caller_bottom_, self.caller_size_, self.caller_tsan_, last);
        const fcontext::transfer_t from = fcontext::jump_fcontext(context, nullptr);
        // A context that is used again goes on here with another fiber.
        if (auto* now = static_cast<fiber_core*>(from.data); now != nullptr)
            how.back(&now->caller_bottom_, &now->caller_size_);
        return from.fctx;
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
    {
        fiber_core& first = *static_cast<fiber_core*>(from.data);
        stack_switch().back(&first.caller_bottom_, &first.caller_size_);
    }
    void* caller = from.fctx;
    for (;;) {
        fiber_core& self = *current->fiber;
        self.caller_ = caller;
        self.body_(self);
        self.ended_ = true;
        void* const jump = current->stacks.jump;
        caller = jump != nullptr ? jump_from_here(jump, self.caller_, &self)
                                 : leave(self.caller_, self, !contexts_are_reused());
    }
}

namespace {

/// The stacks of the running loop.
stack_pool& pool_of(detail::loop& loop) {
    if (loop.stacks.pool == nullptr) [[unlikely]] {
        loop.stacks.pool = new stack_pool();
        // A loop belongs to one thread, so that this need not be asked for at every switch.
        loop.stacks.exceptions = reinterpret_cast<exception_state*>(abi::__cxa_get_globals());
#if defined(__x86_64__)
        if (!switches_are_announced())
            loop.stacks.jump = reinterpret_cast<void*>(&fcontext::jump_fcontext);
#endif
    }
    return *loop.stacks.pool;
}

}  // namespace

fiber_stacks::~fiber_stacks() { delete pool; }

fiber_core::fiber_core(std::size_t stack_bytes, body_function body)
    : stack_(&pool_of(*current).take(stack_bytes)), body_(body) {
    context_ = stack_->context;
    if (context_ != nullptr) [[likely]] return;
    sanitizer_begin(stack_->bottom, stack_->size, stack_->tsan);
    context_ = fcontext::make_fcontext(stack_->top(), stack_->usable(), &fiber_access::entry);
}

void* fiber_core::to_fiber(void* context, fiber_core* self) noexcept {
    return fiber_access::enter(context, *self);
}

void* fiber_core::to_caller(void* context, fiber_core* self) noexcept {
    return fiber_access::leave(context, *self, false);
}

void fiber_core::give_stack_back() noexcept {
    stack_->context = contexts_are_reused() ? context_ : nullptr;
    strand_->loop->stacks.pool->give(*std::exchange(stack_, nullptr));
}

bool fiber_core::stack_holds(const void* address) const noexcept {
    const auto* at = static_cast<const std::byte*>(address);
    return at >= stack_->bottom && at < stack_->bottom + stack_->size;
}

void static_begins() noexcept {
    detail::loop* const loop = current;
    if (loop == nullptr) return;
    if (loop->stacks.statics == 0) {
        if (loop->fiber == nullptr) return;
        loop->stacks.in_static = std::exchange(loop->fiber, nullptr);
    }
    ++loop->stacks.statics;
}

void static_ends() noexcept {
    detail::loop* const loop = current;
    // A static that a task, or a thread without a loop, initialises was not counted.
    if (loop == nullptr || loop->stacks.statics == 0) return;
    if (--loop->stacks.statics == 0)
        loop->fiber = std::exchange(loop->stacks.in_static, nullptr);
}

void refuse_await(std::source_location where) noexcept {
    const bool in_static = current != nullptr && current->stacks.in_static != nullptr;
    assertion_failed(where.file_name(), static_cast<int>(where.line()),
                     in_static ? "coro::await in the initialiser of a local static: the next task "
                                 "that comes there stops this loop for ever; wait first, and "
                                 "initialise then"
                               : "coro::await outside of a fiber: in a coroutine say co_await; "
                                 "start a fiber with task_group::spawn_fiber or coro::fiber");
}

bool is_stack_overflow(const void* address, stack_overflow& what) noexcept {
    const fiber_core* running = current != nullptr ? current->fiber_of_stack() : nullptr;
    return running != nullptr && fiber_access::overflows(*running, address, what);
}

}}}  // namespace coro::v0::detail
