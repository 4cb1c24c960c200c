// The timer of one wait: a node that lives in the awaiter and is linked into a timer_queue.
#pragma once

#include <cstdint>

#include <coro/base/detail/assert.hpp>
#include <coro/base/time.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The two links of a timer, and alone the head of a ring of timers. In the heap the same two words
/// are the children: `next` is the left one, `prev` the right one.
struct timer_link {
    timer_link* next = nullptr;
    timer_link* prev = nullptr;
};

/// Embedded in (or a base of) the awaiter, so that arming allocates nothing; stays where it is
/// while armed. Belongs to one loop's thread. Exactly one cache line, because a million of them may
/// wait.
class timer_node : timer_link {
public:
    /// Called once at the deadline, with the node already disarmed: it may be armed again, or
    /// destroyed, inside. Must not call timer_queue::expire().
    using callback = void (*)(timer_node&) noexcept;

    explicit timer_node(callback on_fire) noexcept : on_fire_(on_fire) {}
    timer_node(const timer_node&) = delete;
    timer_node& operator=(const timer_node&) = delete;
    ~timer_node() {
        CORO_ASSERT(!armed(), "a timer was destroyed while it was armed: disarm it first");
    }

    [[nodiscard]] bool armed() const noexcept { return place_ != place::nowhere; }
    /// When it is to fire. Meaningful while armed.
    [[nodiscard]] time_point deadline() const noexcept { return deadline_; }

private:
    friend class timer_queue;
    friend class precise_timers;

    /// The part of the timer_queue that holds the links.
    enum class place : std::uint8_t { nowhere, slot, parked, run, heap };

    // The members that arming and cancelling in the wheel touch come first, in 48 bytes with the
    // links.
    time_point deadline_{};           ///< the truth; extend() changes only this
    std::uint64_t sequence_ = 0;      ///< number of the arming: the order among equal deadlines
    std::uint16_t slot_ = 0;          ///< slot only: level * 256 + index
    std::uint8_t heap_distance_ = 0;  ///< heap only: see precise_timers
    place place_ = place::nowhere;
    callback on_fire_;
    time_point filed_{};              ///< run, heap: the deadline by which the node is sorted there
    timer_node* parent_ = nullptr;    ///< heap only
};

static_assert(sizeof(void*) != 8 || sizeof(timer_node) == 64);

/// A timer that calls a member function of the object that it is part of.
template <auto Fired>
class member_timer;
template <typename Owner, void (Owner::*Fired)() noexcept>
class member_timer<Fired> final : public timer_node {
public:
    explicit member_timer(Owner& of) noexcept
        : timer_node([](timer_node& fired) noexcept {
              (static_cast<member_timer&>(fired).owner_.*Fired)();
          }),
          owner_(of) {}

private:
    Owner& owner_;
};

}}}  // namespace coro::v0::detail
