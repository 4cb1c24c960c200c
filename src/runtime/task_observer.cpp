#include <coro/runtime/task_observer.hpp>

#include <coro/core/cancel_scope.hpp>
#include <coro/core/detail/strand.hpp>

#include "runtime/observer_hooks.hpp"

namespace coro { inline namespace v0 {
namespace detail {

struct view_access {
    static task_view view(const strand& of) noexcept { return task_view(of); }
};

namespace {

template <void (task_observer::*Told)(const task_view& task) noexcept>
void pass_on(strand& of, void* user) noexcept {
    (static_cast<task_observer*>(user)->*Told)(view_access::view(of));
}

}  // namespace

task_hooks hooks_for(task_observer& observer) noexcept {
    return {
        .spawned = &pass_on<&task_observer::spawned>,
        .resumed = &pass_on<&task_observer::resumed>,
        .suspended = &pass_on<&task_observer::suspended>,
        .ended = &pass_on<&task_observer::ended>,
        .user = &observer,
    };
}

}  // namespace detail

unsigned task_view::loop() const noexcept { return strand_.loop->index; }
std::uint32_t task_view::number() const noexcept { return strand_.number; }
std::string_view task_view::name() const noexcept {
    return strand_.name != nullptr ? std::string_view(strand_.name) : std::string_view();
}
std::source_location task_view::where() const noexcept {
    return strand_.leaf != nullptr ? strand_.leaf->awaiting : std::source_location();
}
bool task_view::is_cancelled() const noexcept {
    return detail::scope_access::cancelled(*strand_.scope);
}

void task_observer::spawned(const task_view& /*task*/) noexcept {}
void task_observer::resumed(const task_view& /*task*/) noexcept {}
void task_observer::suspended(const task_view& /*task*/) noexcept {}
void task_observer::ended(const task_view& /*task*/) noexcept {}
task_observer::~task_observer() = default;

}}  // namespace coro::v0
