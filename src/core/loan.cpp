// Loans of variables: looks for an address in the frames that run, and for loans of a frame that
// ends.
#include <coro/core/detail/loan.hpp>

#include <malloc.h>

#include <cstdio>
#include <limits>
#include <string>

#include <coro/core/fiber.hpp>
#include <coro/core/task.hpp>

#include "core/await_chain.hpp"
#include "core/sanitizers.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr auto lends_at_most = std::numeric_limits<decltype(task_promise_base::lends)>::max();

/// Whether `address` is in the memory of `frame`, or on the stack of the fiber whose host it is.
/// The block of a frame is as large as the allocator says: the frame itself need not know.
bool holds(task_promise_base& frame, const void* address) noexcept {
    if (frame.offset_in_frame == 0) return false;
    auto* const begin = reinterpret_cast<char*>(&frame) - frame.offset_in_frame;
    const auto* const at = static_cast<const char*>(address);
    if (at >= begin && at < begin + ::malloc_usable_size(begin)) return true;
    const fiber_core* const fiber = current->fiber_of_stack();
    return fiber != nullptr && fiber->is_hosted_by(frame) &&
           fiber->stack_holds(address_on_stack(address));
}

/// `handle (/src/echo.cpp:12)`
void append_frame(std::string& text, const frame_link& frame) {
    text += function_name(frame.created.function_name()).view();
    text += std::string(" (") + frame.created.file_name() + ":" +
            std::to_string(frame.created.line()) + ")";
}

/// The frame or, where that is the library's own, the innermost one around it of the program's.
const frame_link& program_frame(const frame_link& frame) noexcept {
    chain_position at{frame.strand, &frame};
    while (at.frame != nullptr && is_library_frame(*at.frame)) at = outer(at);
    return at.frame != nullptr ? *at.frame : frame;
}

/// The outermost frame of the program's own in the strand that borrows; nullptr: there is none yet.
const frame_link* frame_of_borrower(const loan& kept) noexcept {
    const frame_link* found = nullptr;
    for (const frame_link* at = kept.borrower != nullptr ? kept.borrower->leaf : nullptr;
         at != nullptr; at = at->parent)
        if (!is_library_frame(*at)) found = at;
    return found;
}

/// A fiber, or a callable of which nobody knows what it is, has a frame of the library's around it.
/// Before it has one of the program's, the place of its spawn stands for it.
void append_borrower(std::string& text, const loan& kept) {
    if (kept.name != nullptr) text += std::string("\"") + kept.name + "\", ";
    frame_link made;
    made.created = kept.made;
    if (!is_library_frame(made)) return append_frame(text, made);
    if (const frame_link* const frame = frame_of_borrower(kept)) return append_frame(text, *frame);
    text += "spawned by ";
    text += function_name(kept.spawned_in.function_name()).view();
    text += std::string(" (") + kept.spawned_after.file_name() + ":" +
            std::to_string(kept.spawned_after.line()) + " or later)";
}

/// Prints what the exception says, and returns what the sentence calls it.
const char* print_exception(const std::source_location& where, const std::exception_ptr& error) {
    const char* called = "an exception";
    std::string text = "an exception that is no std::exception ends this coroutine";
    try {
        std::rethrow_exception(error);
    } catch (const cancelled&) {
        called = "a cancellation";
        text = "this coroutine ends, because it was cancelled";
    } catch (const std::exception& problem) {
        text = std::string("an exception ends this coroutine: ") + problem.what();
    } catch (...) {  // nobody can ask it
    }
    std::fprintf(stderr, "coro: %s:%u: %s\n", where.file_name(), where.line(), text.c_str());
    return called;
}

[[noreturn]] void refuse(const loan& kept, const std::exception_ptr& error) {
    const frame_link& lender = program_frame(*kept.lender);
    std::string text = "the end came to ";
    if (error) text = std::string(print_exception(lender.created, error)) + " ended ";
    if (&lender != kept.lender) text += "a task of ";
    append_frame(text, lender);
    text += " before the task that it spawned with a reference to a variable of its own: ";
    append_borrower(text, kept);
    // A join would not be reached by a body that fails.
    text += "; declare the variable before with_task_group, outside of its body";
    if (!error) text += ", or end the body with co_await group.join()";
    assertion_failed(lender.created.file_name(), static_cast<int>(lender.created.line()),
                     text.c_str());
}

[[noreturn]] void refuse_at_once(const loan& kept) {
    std::string text = "spawn with a reference to a variable that ends before the task starts: ";
    append_borrower(text, kept);
    // On clang it may be a variable of the body, which a join moves into the frame.
    text += "; it ends with its function: pass a copy, or declare the variable before "
            "with_task_group, outside of its body, or in a body that ends with co_await "
            "group.join()";
    misused(__FILE__, __LINE__, text.c_str());
}

/// Whether `address` is on the thread's own stack, in a function that runs now. That returns before
/// a spawned task starts. There clang keeps the variables of a coroutine that no await can see.
bool on_running_stack(const void* address) noexcept {
    if (current->fiber_of_stack() != nullptr) return false;  // not the thread's own stack
    const void* const real = address_on_stack(address);
    const auto at = reinterpret_cast<std::uintptr_t>(real);
    // Variables that the sanitizer keeps elsewhere are alive, so that no lower bound is needed. The
    // place that it names is a little below the frame.
    const bool is_of_a_caller =
        real != address || at > reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    return is_of_a_caller && at < reinterpret_cast<std::uintptr_t>(current->stack_base);
}

void add_loan(std::unique_ptr<loan>& loans, task_promise_base* lender) {
    auto made = std::make_unique<loan>();
    if (const frame_link* spawner = current->running->leaf; spawner != nullptr) {
        // A fiber has neither a name nor a place before its first await.
        if (spawner->awaiting.line() == 0) spawner = &program_frame(*spawner);
        made->spawned_in = spawner->created;
        made->spawned_after = spawner->awaiting;
    }
    if (lender != nullptr) {
        made->lender = lender;
        if (lender->lends != lends_at_most) ++lender->lends;
        current->loans.push_back(*made);
    }
    made->next = std::move(loans);
    loans = std::move(made);
}

}  // namespace

loan::~loan() {
    if (lender != nullptr && lender->lends != lends_at_most) --lender->lends;
}

void lend(std::unique_ptr<loan>& loans, const void* address, const void* group) {
    if (address == nullptr || current == nullptr || current->running == nullptr) return;
    if (on_running_stack(address)) return add_loan(loans, nullptr);
    for (frame_link* at = current->running->leaf; at != nullptr; at = at->parent) {
        auto& frame = static_cast<task_promise_base&>(*at);
        if (holds(frame, group)) return;  // it ends after the group, and so after the children
        if (holds(frame, address)) return add_loan(loans, &frame);
    }
}

void lend_to(loan& loans, const std::source_location& made, const char* name) {
    for (loan* each = &loans; each != nullptr; each = each->next.get()) {
        each->made = made;
        each->name = name;
        if (each->lender == nullptr) refuse_at_once(*each);
    }
}

void check_lent(const frame_link& lender, const std::exception_ptr& error) noexcept {
    if (current == nullptr) return;  // after its loop: there is no child any more
    for (const loan* at = current->loans.front(); at != nullptr;
         at = current->loans.next(const_cast<loan&>(*at)))
        if (at->lender == &lender) refuse(*at, error);
}

}}}  // namespace coro::v0::detail
