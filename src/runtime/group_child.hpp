// The strand of a task that runs in a group: what spawn makes, and what serve makes of a
// connection.
#pragma once

#include <exception>
#include <utility>

#include <coro/runtime/task_group.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A task and its strand. The derived class sets `kind`, allocates and frees itself, and calls
/// leave_group() last.
class group_child : public strand {
public:
    /// Puts the strand into the run queue.
    void begin() noexcept {
        strand_spawned(*this);
        loop->make_ready(*this);
    }

protected:
    group_child(task_group& group, const char* task_name, task<>&& child) noexcept
        : strand(this_loop(), group.scope_), group_(group), task_(std::move(child)) {
        name = task_name;
        put_first(*this, task_access::promise(task_), task_access::frame(task_));
        ++group.alive_;
    }
    ~group_child() = default;

    [[nodiscard]] task_group& group() const noexcept { return group_; }
    [[nodiscard]] std::exception_ptr& error() noexcept { return task_access::promise(task_).error; }
    /// Destroys the task. For those who keep what it refers to, and destroy that afterwards.
    void end_task() noexcept {
        leaf = nullptr;  // what its arguments do when they end finds no frame any more
        static_cast<void>(task<>(std::move(task_)));
    }
    /// To be called when the child is destroyed.
    static void leave_group(task_group& group) noexcept {
        group.leave();
    }

private:
    task_group& group_;
    task<> task_;
};

}}}  // namespace coro::v0::detail
