// The group of a fiber: open at the construction, joined by hand or by the destructor.
#include <coro/runtime/local_task_group.hpp>

#include <string>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/report.hpp>

namespace coro { inline namespace v0 {
namespace {

detail::fiber_core& fiber_here() noexcept {
    detail::fiber_core* fiber = detail::current != nullptr ? detail::current->fiber : nullptr;
    CORO_ASSERT(fiber != nullptr || detail::current == nullptr ||
                    detail::current->stacks.in_static == nullptr,
                "a local_task_group in the initialiser of a local static: its fiber would wait "
                "there; wait first, and initialise then");
    CORO_ASSERT(fiber != nullptr && fiber->is_innermost(),
                "a local_task_group outside of a fiber: in a coroutine use with_task_group");
    return *fiber;
}

void report_unseen(const std::exception_ptr& error, const detail::strand& strand) noexcept {
    report_exception(
        {.level = severity::error, .verb = "task_group", .endpoint = {}, .error = {},
         .text = "a child of a local group that nobody joined ended with this error",
         .task = strand.name != nullptr ? strand.name : std::string_view{}},
        error);
}

}  // namespace

local_task_group::local_task_group(group_options options, std::source_location where)
    : task_group(options), strand_(fiber_here().strand()), made_at_(where) {
    detail::scope_access::open(scope_, strand_);
}

local_task_group::~local_task_group() {
    if (joined_) return;
    cancel();
    wait_for_children(made_at_);
    if (first_error_) report_unseen(first_error_, strand_);
}

void local_task_group::join(std::source_location where) {
    CORO_ASSERT(!joined_, "a local_task_group was joined twice");
    wait_for_children(where);
    throw_first_error();
    if (was_cut_off()) throw cancelled();
}

void local_task_group::wait_for_children(std::source_location where) {
    detail::fiber_core& fiber = fiber_here();
    CORO_ASSERT(&fiber.strand() == &strand_,
                "a local_task_group was joined or destroyed outside of the fiber that made it");
    while (size() != 0) {
        detail::group_join all(*this);
        fiber.begin_await(where);
        fiber.await_here(all);
    }
    detail::scope_access::close(scope_);
    joined_ = true;
}

}}  // namespace coro::v0
