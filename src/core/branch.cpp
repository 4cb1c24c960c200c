// Branches: start, end, the verdict of their set, and the withdrawal of siblings at a grant.
#include <coro/core/detail/branch.hpp>

#include <string>

#include <coro/base/report.hpp>

namespace coro { inline namespace v0 { namespace detail {

branch_strand::branch_strand(branch_set& set, branch_base& of) noexcept
    : strand(*set.owner_->loop, set.scope_), branch(of) {
    name = set.owner_->name;
    const bool hears_of_grants =
        set.policy_ == branch_policy::any || set.owner_->kind->granted != nullptr;
    kind = hears_of_grants ? &branch_set::racing : &branch_set::plain;
}

const strand_kind branch_set::racing{.resume = &resume_branch,
                                     .finished = &finish_branch,
                                     .granted = &granted_branch};
const strand_kind branch_set::plain{
    .resume = &resume_branch, .finished = &finish_branch, .granted = nullptr};

void branch_set::open(std::coroutine_handle<> resume) noexcept {
    owner_->resume_point = resume;
    owner_->wait_on(*this);
    scope_access::open(scope_, *owner_);
}

void branch_set::start(branch_base& branch) noexcept {
    branch.set_ = this;
    branch.index_ = started_++;
    ++alive_;
    detail::strand& strand = branch.strand_.emplace(*this, branch);
    strand_spawned(strand);
    strand.loop->make_ready(strand);
}

void branch_set::resume_branch(detail::strand& strand) noexcept {
    branch_base& branch = static_cast<branch_strand&>(strand).branch;
    if (!branch.begun_) {
        branch.begun_ = true;
        if (branch.begin(strand)) return;
    } else if (strand.resume_point) {
        std::exchange(strand.resume_point, {}).resume();
        return;
    }
    finish_branch(strand);
}

void branch_set::finish_branch(detail::strand& strand) noexcept {
    branch_base& branch = static_cast<branch_strand&>(strand).branch;
    strand.leaf = nullptr;
    // Under `all` the set throws the first error and counts the others.
    const branch_end how = branch.take(branch.set_->policy_ == branch_policy::any);
    strand.unlink();
    strand_ended(strand);
    branch.set_->ended(branch, how);
}

void branch_set::granted_branch(detail::strand& strand) noexcept {
    if (strand.leaf != nullptr) return;  // a task may go on after this wait
    branch_base& branch = static_cast<branch_strand&>(strand).branch;
    branch_set& set = *branch.set_;
    set.settle(branch);
    // When the set is a branch itself, it is now as good as ended, and its siblings must give way.
    const bool decided = set.policy_ == branch_policy::any || set.settled_ == set.started_;
    if (decided && set.owner_->kind->granted != nullptr) set.owner_->kind->granted(*set.owner_);
}

/// The siblings of the first are withdrawn before anything can be granted to them.
void branch_set::settle(branch_base& branch) noexcept {
    if (branch.settled_) return;
    branch.settled_ = true;
    if (settled_++ == 0) first_ = branch.index_;
    if (policy_ == branch_policy::any) scope_.cancel();
}

void branch_set::ended(branch_base& branch, branch_end how) noexcept {
    settle(branch);
    if (how == branch_end::value) {
        ++values_;
    } else {
        scope_.cancel();
        if (how == branch_end::cancelled) cancelled_branch_ = true;
        else if (!first_error_) first_error_ = branch.error();
        else ++further_errors_;
    }
    if (--alive_ == 0) grant(*owner_);
}

void branch_set::close() {
    if (started_ == 0) return;
    const bool enclosing_cancelled = scope_access::outer_cancelled(scope_);
    scope_access::close(scope_);
    if (policy_ == branch_policy::any) {
        if (values_ == 0 && enclosing_cancelled) throw cancelled();
        return;
    }
    if (further_errors_ != 0)
        report({.level = severity::warning, .verb = verb_, .endpoint = {}, .error = {},
                .text = std::to_string(further_errors_) + " further errors of branches",
                .task = owner_->name != nullptr ? owner_->name : std::string_view{}});
    if (first_error_) std::rethrow_exception(std::move(first_error_));
    if (cancelled_branch_) throw cancelled();
}

void report_unread_error(const std::exception_ptr& error) noexcept {
    std::string_view name;
    if (current != nullptr && current->running != nullptr && current->running->name != nullptr)
        name = current->running->name;
    report_exception({.level = severity::error, .verb = "when_any", .endpoint = {}, .error = {},
                      .text = "a branch ended with this error, and nobody asked for its result",
                      .task = name},
                     error);
}

void branch_set::describe(text_sink& out) const noexcept {
    out.write(verb_);
    out.write(" of ");
    out.write(std::to_string(started_));
    out.write(", ");
    out.write(std::to_string(alive_));
    out.write(" left");
}

}}}  // namespace coro::v0::detail
