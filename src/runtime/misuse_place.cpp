// The part of a sentence of misuse about the task that runs: where it is, its name and number.
#include "base/misuse_place.hpp"

#include <coro/core/fiber.hpp>
#include <coro/core/detail/loop.hpp>

#include "core/await_chain.hpp"
#include "runtime/misuse_place.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// A fiber's frame is the library's own until its first await, and has no place before that.
bool runs_unawaited_fiber() noexcept {
    const fiber_core* const fiber = current->fiber_of_stack();
    return fiber != nullptr && fiber->is_innermost() &&
           current->running->leaf->awaiting.line() == 0;
}

void add_task(misuse_text& out, const detail::strand& strand, const char* what) noexcept {
    out.add(" (task ");
    if (strand.name != nullptr) out.add("\"").add(strand.name).add("\", ");
    out.add("#").add_number(strand.number).add(what);
}

void write_place_of_task(misuse_text& out, const program_site* known,
                         misuse_moment moment) noexcept {
    const detail::strand* strand = current != nullptr ? current->running : nullptr;
    if (known != nullptr) out.add_site(known->path, known->line);
    if (strand == nullptr) {
        if (known != nullptr) out.add(" ");
        out.add("(outside of any task)");
        return;
    }
    if (runs_unawaited_fiber()) {
        if (known == nullptr) out.add("before the first await");
        add_task(out, *strand, ", a fiber)");
        return;
    }
    const chain_position at = first_program_frame(*strand);
    if (at.frame == nullptr) {
        if (known == nullptr) out.add("in the library");
        add_task(out, *strand, ")");
        return;
    }
    if (known == nullptr) {
        out.add_site(at.frame->awaiting.file_name(), at.frame->awaiting.line());
        // A frame of the program's own that awaits one of the library's is at that await.
        if (moment != misuse_moment::in_await && at.frame == strand->leaf) out.add(" or later");
    }
    add_task(out, *strand, ", in ");
    out.add(function_name(at.frame->created.function_name()).view()).add(")");
}

}  // namespace

void write_misuse_places_with_tasks() noexcept { write_misuse_places_by(&write_place_of_task); }

}}}  // namespace coro::v0::detail
