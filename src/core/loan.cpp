// Who lends what: looks for an address in the frames that run, and for loans of a frame that ends.
#include <coro/core/loan.hpp>

#include <malloc.h>

#include <cstdio>
#include <string>

#include <coro/core/fiber.hpp>
#include <coro/core/task.hpp>

#include "core/sanitizers.hpp"

namespace coro::inline v0::detail {
namespace {

/// Whether `address` is in the memory of `frame`, or on the stack of the fiber whose host it is.
/// The block of a frame is as large as the allocator says: the frame itself need not know.
bool holds(task_promise_base& frame, const void* address) noexcept {
    if (frame.offset_in_frame == 0) return false;
    auto* const begin = reinterpret_cast<char*>(&frame) - frame.offset_in_frame;
    const auto* const at = static_cast<const char*>(address);
    if (at >= begin && at < begin + ::malloc_usable_size(begin)) return true;
    const fiber_core* const fiber = current->fiber;
    return fiber != nullptr && fiber->is_hosted_by(frame) && fiber->stack_holds(address);
}

void append_site(std::string& text, const std::source_location& where) {
    text += where.function_name();
    text += " (";
    text += where.file_name();
    text += ":" + std::to_string(where.line()) + ")";
}

void print_exception(const std::source_location& where, const std::exception_ptr& error) noexcept {
    const char* text = "an exception that is no std::exception";
    try {
        std::rethrow_exception(error);
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "coro: %s:%u: an exception ends this coroutine: %s\n",
                     where.file_name(), where.line(), problem.what());
        return;
    } catch (...) {
    }
    std::fprintf(stderr, "coro: %s:%u: an exception ends this coroutine: %s\n",
                 where.file_name(), where.line(), text);
}

[[noreturn]] void refuse(const loan& kept, const std::exception_ptr& error) {
    const frame_link& lender = *kept.lender;
    if (error) print_exception(lender.created, error);
    std::string text = error ? "an exception ended " : "the end came to ";
    append_site(text, lender.created);
    text += " before the task that it spawned with a reference to a variable of its own: ";
    if (kept.borrower.name != nullptr) text += std::string("\"") + kept.borrower.name + "\", ";
    append_site(text, kept.borrower.created);
    text += error ? "; declare the variable before with_task_group, which waits for the task"
                  : "; end the body of the group with co_await group.join(), or declare the "
                    "variable before with_task_group";
    assertion_failed(lender.created.file_name(), static_cast<int>(lender.created.line()),
                     text.c_str());
}

/// Whether `address` is on the thread's own stack, in a function that runs now: it returns before a
/// spawned task starts. clang keeps there the variables of a coroutine that no await can see.
bool on_running_stack(const void* address) noexcept {
    if (current->fiber != nullptr) return false;  // the thread is on the stack of a fiber
    const auto at = reinterpret_cast<std::uintptr_t>(address_on_stack(address));
    return at > reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) &&
           at < reinterpret_cast<std::uintptr_t>(current->stack_base);
}

}  // namespace

void lend(std::unique_ptr<loan>& loans, const void* address, const void* group) {
    if (address == nullptr || current == nullptr || current->running == nullptr) return;
    CORO_ASSERT(!on_running_stack(address),
                "spawn with a reference to a variable that ends before the task starts; end the "
                "body of the group with co_await group.join(), or declare the variable before "
                "with_task_group");
    for (frame_link* at = current->running->leaf; at != nullptr; at = at->parent) {
        auto& frame = static_cast<task_promise_base&>(*at);
        if (holds(frame, group)) return;  // it ends after the group, and so after the children
        if (!holds(frame, address)) continue;
        auto made = std::make_unique<loan>(frame);
        current->loans.push_back(*made);
        frame.lends = true;
        made->next = std::move(loans);
        loans = std::move(made);
        return;
    }
}

void check_lent(const frame_link& lender, const std::exception_ptr& error) noexcept {
    if (current == nullptr) return;  // after its loop: there is no child any more
    for (const loan* at = current->loans.front(); at != nullptr;
         at = current->loans.next(const_cast<loan&>(*at)))
        if (at->lender == &lender) refuse(*at, error);
}

}  // namespace coro::inline v0::detail
