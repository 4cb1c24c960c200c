// The parts of the timer queue that are not worth inlining.
#include "runtime/timer_queue.hpp"

namespace coro { inline namespace v0 { namespace detail {

// --- the leftist heap: a node's distance is the length of the way down to the right. The left
// child's is never the smaller one. So the way to the right is at most log2(n) long, and all work
// is done on it.

/// Restores the two rules of one node from its children; true if its distance has changed.
bool precise_timers::repair(timer_node& node) noexcept {
    const auto distance = [](timer_link* link) -> unsigned {
        return link == nullptr ? 0 : child(link)->heap_distance_;
    };
    if (distance(node.next) < distance(node.prev)) std::swap(node.next, node.prev);
    const auto now = static_cast<std::uint8_t>(distance(node.prev) + 1);
    return std::exchange(node.heap_distance_, now) != now;
}

/// Merges two heaps. The parent of the root that comes out is nullptr.
timer_node* precise_timers::merge(timer_node* a, timer_node* b) noexcept {
    timer_node* root = nullptr;
    timer_node* last = nullptr;
    while (a != nullptr && b != nullptr) {
        if (before(*b, *a)) std::swap(a, b);
        a->parent_ = last;
        if (last == nullptr) root = a;
        else last->prev = a;
        last = a;
        a = child(a->prev);
    }
    timer_node* rest = a != nullptr ? a : b;
    if (rest != nullptr) rest->parent_ = last;
    if (last == nullptr) return rest;
    last->prev = rest;
    for (; last != nullptr; last = last->parent_) repair(*last);
    return root;
}

void precise_timers::push_heap(timer_node& node) noexcept {
    node.place_ = timer_node::place::heap;
    node.next = node.prev = nullptr;
    node.heap_distance_ = 1;
    root_ = merge(root_, &node);
}

void precise_timers::erase_heap(timer_node& node) noexcept {
    timer_node* parent = node.parent_;
    timer_node* rest = merge(child(node.next), child(node.prev));
    if (rest != nullptr) rest->parent_ = parent;
    if (parent == nullptr) {
        root_ = rest;
        return;
    }
    (parent->next == &node ? parent->next : parent->prev) = rest;
    // Upwards only as long as distances change: that cannot be for more than log2(n) nodes.
    while (parent != nullptr && repair(*parent)) parent = parent->parent_;
}

unsigned precise_timers::heap_path() const noexcept {
    unsigned length = 0;
    for (const timer_node* node = root_; node != nullptr; node = child(node->prev)) ++length;
    CORO_ASSERT(root_ == nullptr || length == root_->heap_distance_,
                "the heap of timers has lost count of its own depth");
    return length;
}

// --- the wheel

timer_queue::timer_queue(time_point start) noexcept
    : now_(start),
      precise_until_(saturating_add(start, precise_span)),
      origin_(count(start.time_since_epoch())),
      last_tick_(since_origin(never) / count(tick)) {}

std::size_t timer_queue::expire_due(std::size_t limit) noexcept {
    expiring_ = true;
    std::size_t fired = 0;
    // Looked up again when a slot has been brought up and when its timers have been filed, not each
    // time. No timer that on_fire arms in the wheel is due in this call (rule 6). But the slot of a
    // higher level that it got into may have begun; so once more before the end.
    slot_position next = next_slot();
    for (; limit > 0; --limit) {
        if (!staging_.empty()) {
            file_first_staged();
            if (staging_.empty()) next = next_slot();
            continue;
        }
        timer_node* top = precise_.top();
        const bool top_due = top != nullptr && top->filed_ <= now_;
        // All that is in `next` or after it is due later than the tick before `next`.
        if (top_due && top->filed_ <= time_of(next.first_tick - 1)) {
            if (fire(*top)) ++fired;
        } else if (next.first_tick != no_tick && (top_due || time_of(next.first_tick) <= now_)) {
            bring_up(next);  // rules 3 and 4
            next = next_slot();
        } else {
            const std::uint64_t known = std::exchange(next, next_slot()).first_tick;
            if (next.first_tick == known) break;
        }
    }
    if (staging_.empty() && time_of(next_slot().first_tick) > now_) follow_now();
    expiring_ = false;
    return fired;
}

void timer_queue::bring_up(slot_position which) noexcept {
    current_ = which.first_tick;
    timer_ring& ring = slots_[which.slot];
    if (ring.empty()) return;
    staging_.splice(ring);
    mark_empty(which.slot);
}

/// Files a timer whose slot has come up. It is due in this tick, or later because the slot was one
/// of a higher level or the deadline has been extended.
void timer_queue::file_first_staged() noexcept {
    timer_node& node = *static_cast<timer_node*>(staging_.front());
    timer_ring::unlink(node);
    if (node.deadline_ <= time_of(current_) && node.deadline_ != never) precise_.push(node);
    else file_far(node);
}

/// False if the deadline has been extended, so that the timer was only filed again.
bool timer_queue::fire(timer_node& node) noexcept {
    precise_.erase(node);
    if (node.deadline_ > node.filed_) {
        file(node);
        return false;
    }
    node.place_ = timer_node::place::nowhere;
    --size_;
    node.on_fire_(node);  // the node may be gone after this
    return true;
}

}}}  // namespace coro::v0::detail
