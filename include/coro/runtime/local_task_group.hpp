// local_task_group: a task group as a local variable of a fiber.
#pragma once

#include <source_location>

#include <coro/runtime/task_group.hpp>

namespace coro { inline namespace v0 {

/// A task group that needs no body, because a fiber can wait in a destructor. It is a local
/// variable of a function that runs in a fiber. Its children are tasks and fibers, and end before
/// it does.
///
/// Unlike with with_task_group, the code around it is not in the group's scope. A child that fails
/// cancels the other children, and the fiber learns of it in join().
class local_task_group : public task_group {
public:
    /// Requires: a fiber runs (aborts otherwise).
    CORO_EXPORT explicit local_task_group(
        group_options options = {}, std::source_location where = std::source_location::current());
    /// Without a join before: cancels the children and waits for their end. Their errors go to the
    /// report hook then. Requires: it runs in the fiber that made the group.
    CORO_EXPORT ~local_task_group();

    /// Waits for all children, and ends the group: nothing can be spawned into it any more.
    /// It hides task_group::join. A function that has this group as a task_group& waits by that
    /// join for the children alone. The group goes on, and their errors come out of this join.
    /// Suspends until the last child has ended; resumes on this loop.
    /// Throws: the first error of a child; cancelled, if an enclosing scope was cancelled and ended
    /// a child by that. Requires: called once, in the fiber that made the group.
    CORO_EXPORT void join(std::source_location where = std::source_location::current());

private:
    void wait_for_children(std::source_location where);

    detail::strand& strand_;
    std::source_location made_at_;
};

}}  // namespace coro::v0
