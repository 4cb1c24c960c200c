// task_observer: tells a program when each task begins, runs, waits and ends; for tracing.
#pragma once

#include <cstdint>
#include <source_location>
#include <string_view>

#include <coro/base/detail/export.hpp>

namespace coro { inline namespace v0 {
namespace detail {

class strand;
struct view_access;

}  // namespace detail

/// A read-only view of a task for an observer: one given to run(), a spawned one, or a branch of
/// when_all or when_any. Valid during the call that gets it.
class task_view {
public:
    /// The number of the loop on which the task runs, from 0.
    [[nodiscard]] CORO_EXPORT unsigned loop() const noexcept;
    /// Counts the tasks of that loop from 1; the same number stands in dumps.
    [[nodiscard]] CORO_EXPORT std::uint32_t number() const noexcept;
    /// spawn_options::name; empty if the task has none.
    [[nodiscard]] CORO_EXPORT std::string_view name() const noexcept;
    /// The await at which the innermost frame is, or was last; the place of the coroutine before
    /// its first. Line 0 for a branch that is no task.
    [[nodiscard]] CORO_EXPORT std::source_location where() const noexcept;
    /// Whether the task is cancelled: its next await throws `cancelled`.
    [[nodiscard]] CORO_EXPORT bool is_cancelled() const noexcept;

private:
    friend struct detail::view_access;
    explicit task_view(const detail::strand& of) noexcept : strand_(of) {}
    const detail::strand& strand_;
};

/// Derive from it, overwrite what you want to see, and give it to run_options::observer. The loops
/// call it on their own threads, each for its own tasks; in a run of several loops it must be safe
/// for that. A call costs the task its time, and may neither wait nor throw.
class CORO_EXPORT task_observer {
public:
    task_observer() noexcept = default;
    task_observer(const task_observer&) = delete;
    task_observer& operator=(const task_observer&) = delete;

    /// The task exists; it has not run yet.
    virtual void spawned(const task_view& task) noexcept;
    /// The loop is about to run the task.
    virtual void resumed(const task_view& task) noexcept;
    /// The task waits, or is ready and gives way.
    virtual void suspended(const task_view& task) noexcept;
    /// The task has ended.
    virtual void ended(const task_view& task) noexcept;

protected:
    virtual ~task_observer();
};

}}  // namespace coro::v0
