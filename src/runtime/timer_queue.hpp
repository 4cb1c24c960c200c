// The timers of one loop: a hierarchical wheel for the many, a precise queue for the near.
//
//  arm ──┬─ under 10 ms away ─────────────────────────────────► precise ── in order ──► fire
//        ├─ later ──► slot ── its tick comes ──► staging ── due ──►┘
//        │             ▲                            │
//        │             └─── due later (cascade) ────┘
//        └─ never ──► parked
//
// Rules, which the code cites:
//
//  1. Tick T is the instant origin + T ms. A timer's tick is the first one not before its deadline.
//     So firing the wheel tick by tick is never early and less than one tick late.
//  2. The wheel has six levels of 256 slots: 2^48 ticks, more than the whole range of time_point.
//     A timer stands on the level of the highest digit (base 256) in which its tick differs from
//     current_, in the slot of that digit. So every timer in the wheel has tick > current_, and all
//     of a level come before all of the next level. The first bit of the lowest level that is not
//     empty is the next thing to happen. No slot is ever reached by counting through empty ones.
//  3. A slot that comes up is spliced into staging_ whole; its timers are then filed one by one,
//     each counted against the limit of expire(). Nothing fires while staging_ holds something.
//  4. Order: a timer of the precise queue fires only when no slot can hold an earlier one. For that
//     the slot of a tick that has begun but not ended is spliced early, if (and only if) something
//     in the precise queue is due within this tick. So all firing is in (deadline, sequence) order.
//  5. extend() stores the new deadline and leaves the node where it is. Code that takes a node out
//     of a slot, or off the top of the precise queue, files it again when its deadline has moved.
//  6. now_ is the time of the last expire(); "10 ms away" is counted from there. So a timer that is
//     armed into the wheel has a tick beyond the one in which now_ lies, also from on_fire.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/time.hpp>
#include <coro/runtime/detail/timer.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A ring of timers through a head of its own.
class timer_ring {
public:
    timer_ring() noexcept { clear(); }
    timer_ring(const timer_ring&) = delete;
    timer_ring& operator=(const timer_ring&) = delete;

    [[nodiscard]] bool empty() const noexcept { return head_.next == &head_; }
    [[nodiscard]] timer_link* front() const noexcept { return head_.next; }
    [[nodiscard]] timer_link* back() const noexcept { return head_.prev; }

    void push_back(timer_link& node) noexcept {
        timer_link* last = head_.prev;
        node.next = &head_;
        node.prev = last;
        head_.prev = &node;
        last->next = &node;
    }

    /// Takes `node` out of whichever ring it is in; true if that ring is empty now.
    static bool unlink(timer_link& node) noexcept {
        timer_link* next = node.next;
        timer_link* prev = node.prev;
        next->prev = prev;
        prev->next = next;
        return next == prev;  // a node between one and the same link was alone with the head
    }

    /// Appends all of `other`, which is empty afterwards.
    void splice(timer_ring& other) noexcept {
        if (other.empty()) return;
        timer_link* first = other.head_.next;
        timer_link* last = other.head_.prev;
        first->prev = head_.prev;
        head_.prev->next = first;
        last->next = &head_;
        head_.prev = last;
        other.clear();
    }

private:
    void clear() noexcept { head_.next = head_.prev = &head_; }

    timer_link head_;
};

/// Timers in exact (deadline, sequence) order, without any memory of its own. Timers that come in
/// order are appended to a sorted run at O(1) (equal spans, or a million at one instant). The
/// others go into a leftist heap, O(log n) at worst for each single step, which bounds expire().
class precise_timers {
public:
    /// The earliest, or nullptr.
    [[nodiscard]] timer_node* top() const noexcept {
        timer_node* head = run_.empty() ? nullptr : static_cast<timer_node*>(run_.front());
        if (root_ == nullptr) return head;
        return head == nullptr || before(*root_, *head) ? root_ : head;
    }

    void push(timer_node& node) noexcept {
        node.filed_ = node.deadline_;
        if (run_.empty() || before(*static_cast<timer_node*>(run_.back()), node)) {
            node.place_ = timer_node::place::run;
            run_.push_back(node);
        } else {
            push_heap(node);
        }
    }

    /// Requires: `node` is in the run or in the heap.
    void erase(timer_node& node) noexcept {
        if (node.place_ == timer_node::place::run) timer_ring::unlink(node);
        else erase_heap(node);
    }

    /// For tests: how many nodes of the heap the next push may have to pass, at most log2(n + 1).
    [[nodiscard]] unsigned heap_path() const noexcept;

private:
    [[nodiscard]] static bool before(const timer_node& a, const timer_node& b) noexcept {
        return a.filed_ != b.filed_ ? a.filed_ < b.filed_ : a.sequence_ < b.sequence_;
    }
    [[nodiscard]] static timer_node* child(timer_link* link) noexcept {
        return static_cast<timer_node*>(link);
    }
    void push_heap(timer_node& node) noexcept;
    void erase_heap(timer_node& node) noexcept;
    static timer_node* merge(timer_node* a, timer_node* b) noexcept;
    static bool repair(timer_node& node) noexcept;

    timer_ring run_;
    timer_node* root_ = nullptr;
};

/// The timers of one loop. Single-threaded; reads no clock: the time is what expire() is told.
class timer_queue {
public:
    static constexpr duration tick = std::chrono::milliseconds(1);
    /// Spans shorter than this are kept to the nanosecond.
    static constexpr duration precise_span = 10 * tick;

    explicit timer_queue(time_point start) noexcept;
    timer_queue(const timer_queue&) = delete;
    timer_queue& operator=(const timer_queue&) = delete;
    ~timer_queue() { CORO_ASSERT(size_ == 0, "a timer_queue ended while timers were armed"); }

    /// Makes `node` fire at `deadline`: never before it, at most one tick after it if expire() is
    /// called in time. A deadline in the past fires at the next expire(); `never` never fires.
    /// Requires: not armed.
    void arm(timer_node& node, time_point deadline) noexcept {
        CORO_ASSERT(!node.armed(), "a timer was armed while it was armed: disarm it first");
        node.deadline_ = deadline;
        node.sequence_ = ++sequence_;
        ++size_;
        file(node);
    }

    /// Does nothing when `node` is not armed.
    void disarm(timer_node& node) noexcept {
        if (!node.armed()) return;
        take_out(node);
        node.place_ = timer_node::place::nowhere;
        --size_;
    }

    /// Moves the deadline of an armed timer to a later time, at the price of one store (rule 5);
    /// its sequence stays. Each former deadline may cost one early wake-up.
    static void extend(timer_node& node, time_point later) noexcept {
        CORO_ASSERT(node.armed() && later >= node.deadline_,
                    "extend() of a timer that is not armed, or to an earlier deadline");
        node.deadline_ = later;
    }

    /// The time of the next call of expire(): never later than a tick after the earliest deadline.
    /// It is `never` when nothing is due ever, and in the past while expire() has something left to
    /// do. It is earlier than the earliest deadline for cascades and extended timers: at most 4
    /// wake-ups in all for a timer one hour away.
    [[nodiscard]] time_point next_deadline() const noexcept {
        if (!staging_.empty()) return now_;
        const time_point slot = time_of(next_slot().first_tick);
        const timer_node* top = precise_.top();
        return top != nullptr && top->filed_ < slot ? top->filed_ : slot;
    }

    /// Fires what is due at `now`, in (deadline, sequence) order, and returns how many fired. Takes
    /// at most `limit` steps, where a step fires, files or cascades one timer. The next call does
    /// the rest, and next_deadline() is in the past as long as a rest is left. Before the first of
    /// them it calls `late` with when it should have been called; that may arm and disarm.
    /// Requires: not called from on_fire.
    template <typename Late>
    std::size_t expire(time_point now, std::size_t limit, Late late) noexcept {
        CORO_ASSERT(!expiring_, "timer_queue::expire() was called from on_fire");
        const time_point before = now_;
        if (now > now_) set_now(now);
        // The call before put staged timers off, and they fell due then at the latest.
        const time_point due = staging_.empty() ? next_deadline() : before;
        if (due > now_) {
            follow_now();
            return 0;
        }
        late(due);
        return expire_due(limit);
    }
    std::size_t expire(time_point now, std::size_t limit) noexcept {
        return expire(now, limit, [](time_point) noexcept {});
    }

    /// How many timers are armed.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

    /// For tests: see precise_timers::heap_path().
    [[nodiscard]] unsigned heap_path() const noexcept { return precise_.heap_path(); }

private:
    static constexpr unsigned level_bits = 8;
    static constexpr unsigned levels = 6;
    static constexpr unsigned slots_per_level = 1u << level_bits;
    static constexpr std::uint64_t no_tick = ~std::uint64_t{0};

    /// A slot of the wheel and the tick at which it comes up.
    struct slot_position {
        std::uint64_t first_tick = no_tick;
        unsigned slot = 0;
    };

    [[nodiscard]] static std::uint64_t count(duration span) noexcept {
        return static_cast<std::uint64_t>(span.count());
    }
    [[nodiscard]] std::uint64_t since_origin(time_point when) const noexcept {
        return count(when.time_since_epoch()) - origin_;  // modulo 2^64: exact for when >= origin
    }
    /// Rule 1. Requires: deadline > origin.
    [[nodiscard]] std::uint64_t tick_of(time_point deadline) const noexcept {
        return (since_origin(deadline) - 1) / count(tick) + 1;
    }
    [[nodiscard]] time_point time_of(std::uint64_t which) const noexcept {
        if (which > last_tick_) return never;
        return time_point(duration(static_cast<std::int64_t>(origin_ + which * count(tick))));
    }

    /// Puts a node where its deadline belongs.
    void file(timer_node& node) noexcept {
        if (node.deadline_ < precise_until_) precise_.push(node);
        else file_far(node);
    }
    /// Requires: the tick of the deadline is later than current_, or the deadline is `never`.
    void file_far(timer_node& node) noexcept {
        if (node.deadline_ == never) {
            node.place_ = timer_node::place::parked;
            parked_.push_back(node);
            return;
        }
        put_into_slot(node, tick_of(node.deadline_));
    }
    /// Rule 2. Requires: when > current_.
    void put_into_slot(timer_node& node, std::uint64_t when) noexcept {
        const auto highest = static_cast<unsigned>(std::bit_width(when ^ current_)) - 1;
        const unsigned level = highest / level_bits;
        const auto index =
            static_cast<unsigned>(when >> (level * level_bits)) % slots_per_level;
        const unsigned slot = level * slots_per_level + index;
        node.place_ = timer_node::place::slot;
        node.slot_ = static_cast<std::uint16_t>(slot);
        slots_[slot].push_back(node);
        occupied_[slot / 64] |= std::uint64_t{1} << (slot % 64);
        occupied_levels_ |= 1u << level;
    }

    void take_out(timer_node& node) noexcept {
        switch (node.place_) {
            case timer_node::place::slot:  // or still in staging_, where its slot is empty anyway
                if (timer_ring::unlink(node)) mark_empty(node.slot_);
                break;
            case timer_node::place::run:
            case timer_node::place::heap: precise_.erase(node); break;
            case timer_node::place::parked: timer_ring::unlink(node); break;
            case timer_node::place::nowhere: break;
        }
    }

    void mark_empty(unsigned slot) noexcept {
        occupied_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
        const unsigned level = slot / slots_per_level;
        const std::uint64_t* words = &occupied_[level * words_per_level];
        if ((words[0] | words[1] | words[2] | words[3]) == 0) occupied_levels_ &= ~(1u << level);
    }

    /// The next slot to come up (rule 2); first_tick is no_tick when the wheel is empty.
    [[nodiscard]] slot_position next_slot() const noexcept {
        if (occupied_levels_ == 0) return {};
        const auto level = static_cast<unsigned>(std::countr_zero(occupied_levels_));
        unsigned word = level * words_per_level;
        while (occupied_[word] == 0) ++word;
        const unsigned slot = word * 64 + static_cast<unsigned>(std::countr_zero(occupied_[word]));
        const unsigned shift = level * level_bits;
        const std::uint64_t block = (current_ >> shift) & ~std::uint64_t{slots_per_level - 1};
        return {(block | (slot % slots_per_level)) << shift, slot};
    }

    void set_now(time_point now) noexcept {
        now_ = now;
        precise_until_ = saturating_add(now, precise_span);
    }
    /// Brings current_ up to the tick of now_. Requires: no slot comes up until then.
    void follow_now() noexcept {
        const std::uint64_t present = since_origin(now_) / count(tick);
        if (present > current_) current_ = present;
    }

    std::size_t expire_due(std::size_t limit) noexcept;
    void bring_up(slot_position which) noexcept;
    void file_first_staged() noexcept;
    bool fire(timer_node& node) noexcept;

    static constexpr unsigned words_per_level = slots_per_level / 64;
    static_assert(words_per_level == 4, "mark_empty() looks at four words");

    time_point now_;
    time_point precise_until_;     ///< now_ + precise_span
    std::uint64_t origin_;         ///< start, as the two's complement of its nanoseconds
    std::uint64_t last_tick_;      ///< the last tick that a time_point can say
    std::uint64_t current_ = 0;    ///< the tick up to which slots have been brought up
    std::uint64_t sequence_ = 0;
    std::size_t size_ = 0;
    std::uint32_t occupied_levels_ = 0;  ///< bit set iff a word of the level is not 0
    bool expiring_ = false;
    std::array<std::uint64_t, levels * words_per_level> occupied_{};  ///< iff the slot is not empty
    precise_timers precise_;
    timer_ring staging_;           ///< rule 3
    timer_ring parked_;            ///< deadline `never`
    std::array<timer_ring, levels * slots_per_level> slots_;
};

}}}  // namespace coro::v0::detail
