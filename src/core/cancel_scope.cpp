// The tree of scopes: cancellation and stop requests go down it, deadlines are read up it.
#include <coro/core/cancel_scope.hpp>

#include <algorithm>

namespace coro { inline namespace v0 {

void cancel_scope::open(cancel_scope* parent, detail::strand* owner) noexcept {
    parent_ = parent;
    owner_ = owner;
    if (parent == nullptr) return;
    if (owner != nullptr) opener_ = owner->leaf;
    parent->children_.push_back(*this);
    stop_requested_ = parent->stop_requested_;
    cancelled_ = !shielded_ && parent->cancelled_;
}

// The walks below are loops and not recursions: scopes nest as deep as the program's recursion.

cancel_scope* cancel_scope::next_in_tree(const cancel_scope& top) noexcept {
    if (cancel_scope* child = children_.front()) return child;
    return next_after_subtree(top);
}

cancel_scope* cancel_scope::next_after_subtree(const cancel_scope& top) noexcept {
    for (cancel_scope* at = this; at != &top; at = at->parent_)
        if (cancel_scope* sibling = at->parent_->children_.next(*at)) return sibling;
    return nullptr;
}

void cancel_scope::cancel() noexcept {
    check_home();
    cancel_called_ = true;
    if (cancelled_) return;
    cancelled_ = true;
    cancel_scope* at = this;
    while (at != nullptr) {
        const bool skip = at != this && (at->shielded_ || at->cancelled_);
        if (skip) {
            at = at->next_after_subtree(*this);
            continue;
        }
        at->cancelled_ = true;
        // cancel_wait() resumes nobody and changes no list of scopes; it may make strands ready.
        for (detail::strand* strand = at->strands_.front(); strand != nullptr;
             strand = at->strands_.next(*strand))
            if (strand->waiting != nullptr) strand->waiting->cancel_wait();
        at->call_listeners(true);
        at = at->next_in_tree(*this);
    }
}

void cancel_scope::request_stop() noexcept {
    check_home();
    if (stop_requested_) return;
    // Stop is advice and passes through shields: shielded work may still want to hurry.
    for (cancel_scope* at = this; at != nullptr; at = at->next_in_tree(*this)) {
        at->stop_requested_ = true;
        at->call_listeners(false);
    }
}

void cancel_scope::call_listeners(bool on_cancel) noexcept {
    detail::stop_listener* listener = stop_listeners_.front();
    while (listener != nullptr) {
        detail::stop_listener* following = stop_listeners_.next(*listener);
        if (!on_cancel || listener->also_on_cancel) listener->call(*listener);
        listener = following;
    }
}

time_point cancel_scope::deadline() const noexcept {
    check_home();
    time_point earliest = own_deadline_;
    for (const cancel_scope* at = this; !at->shielded_ && at->parent_ != nullptr; at = at->parent_)
        earliest = std::min(earliest, at->parent_->own_deadline_);
    return earliest;
}

}}  // namespace coro::v0
