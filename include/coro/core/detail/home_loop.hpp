// Where an object lives that tasks wait for, and how those of other loops wait for it.
#pragma once

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/core/detail/strand.hpp>
#include <coro/core/detail/loop.hpp>
#include <coro/core/detail/shared_words.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The loop on which an object was made. If it was made outside of run(), or in a run that has
/// ended, it is the loop of the task that first uses it. The object's state is plain and touched on
/// that loop only.
class home_loop {
public:
    home_loop() noexcept : home_(current != nullptr ? current->id : loop_id()) {}

    /// Whether the running loop is another one of the same run: then what is asked goes there as a
    /// message. Settles the home of an object that has none.
    [[nodiscard]] bool is_elsewhere() noexcept {
        const loop_id home = home_.get();
        if (detail::is_here(home)) [[likely]] return false;
        return lives_elsewhere(home);
    }
    /// For what has no remote form. Requires: this is its loop, or it has none.
    void check() const noexcept {
        const loop_id home = home_.get();
        if (!detail::is_here(home)) [[unlikely]] check_homeless(home);
    }
    [[nodiscard]] bool is_here() const noexcept { return detail::is_here(home_.get()); }
    /// Requires: is_elsewhere() has returned true on this loop.
    [[nodiscard]] detail::loop& loop() const noexcept { return loop_of_this_run(home_.get()); }

private:
    CORO_EXPORT bool lives_elsewhere(loop_id home) noexcept;
    CORO_EXPORT void check_homeless(loop_id home) const noexcept;

    mutable settled_home<loop_id> home_;
};

/// Requires: no message of another loop is on its way to the object that ends.
inline void check_no_message(bool none) {
    CORO_ASSERT(none, "an object that tasks wait for was destroyed while a message of another loop "
                      "was on its way: it must outlive who uses it there");
}

/// Something that the object tells itself from another loop: set, close. A message that is
/// under way stands for all that follow until it arrives. The object must outlive the message:
/// the messages of a loop come in order, so it does if it outlives the task that sent it.
class home_message : posted {
public:
    explicit home_message(void (*on_arrival)(home_message& self) noexcept) noexcept
        : arrived_(on_arrival) {
        run = [](posted& self) noexcept {
            auto& mine = static_cast<home_message&>(self);
            mine.flag_.arrives();
            mine.arrived_(mine);
        };
    }
    ~home_message() { check_no_message(!flag_.is_under_way()); }
    home_message(const home_message&) = delete;
    home_message& operator=(const home_message&) = delete;
    void send(detail::loop& home) noexcept {
        if (flag_.sets_out()) home.post(*this);
    }

private:
    void (*arrived_)(home_message& self) noexcept;
    message_flag<> flag_;
};

/// A home_message that calls a member function of the object that it is part of.
template <auto Arrived>
class home_call;
template <typename Owner, void (Owner::*Arrived)() noexcept>
class home_call<Arrived> final : public home_message {
public:
    explicit home_call(Owner& of) noexcept
        : home_message([](home_message& self) noexcept {
              (static_cast<home_call&>(self).owner_.*Arrived)();
          }),
          owner_(of) {}

private:
    Owner& owner_;
};

/// An amount that the object is told from other loops: permits that come back, arrivals. What comes
/// while a message is under way goes with it.
template <auto Arrived>
class home_sum;
template <typename Owner, void (Owner::*Arrived)(std::size_t) noexcept>
class home_sum<Arrived> final : posted {
public:
    explicit home_sum(Owner& of) noexcept : owner_(of) {
        run = [](posted& self) noexcept {
            auto& mine = static_cast<home_sum&>(self);
            (mine.owner_.*Arrived)(mine.amount_.exchange(0, std::memory_order_acq_rel));
        };
    }
    ~home_sum() { check_no_message(amount_.load(std::memory_order_relaxed) == 0); }
    home_sum(const home_sum&) = delete;
    home_sum& operator=(const home_sum&) = delete;
    /// Nothing is no message: its flag would be 0.
    void send(detail::loop& home, std::size_t amount) noexcept {
        if (amount == 0) return;
        if (amount_.fetch_add(amount, std::memory_order_acq_rel) == 0) home.post(*this);
    }

private:
    Owner& owner_;
    /// Also the flag of the message: it is under way until the amount is taken. Otherwise a sender
    /// that only adds to it would touch the object once more. By then the amount may have come
    /// home, and the task that waited for it may have destroyed the object.
    std::atomic<std::size_t> amount_{0};
};

enum class wait_outcome : std::uint8_t {
    none,
    done,       ///< granted, completed or ready at once
    cancelled,  ///< withdrawn; nothing was taken
    no_memory,  ///< to wait by an agent; nothing was taken
    invited,    ///< by an agent: nothing was taken, but now there is something
};

/// A wait as its agent sees it. `begin` is called at home and returns false when it has ended at
/// once; `take_back` is called on the waiter's loop after the end.
struct remote_awaiter {
    wait_point* wait;
    bool (*begin)(wait_point& wait, detail::strand& agent) noexcept;
    wait_outcome (*take_back)(wait_point& wait, detail::strand& strand) noexcept;
    /// A strand that is invited tries to take the object where it is, when it is its turn to run.
    /// The result is done; or cancelled, if another was first and the wait has been `withdrawn`; or
    /// none. Then the agent begins once more, and this time there is no invitation.
    wait_outcome (*follow_invitation)(wait_point& wait, bool withdrawn) noexcept;
};

/// Waits on the home loop on behalf of a strand, mostly of another loop: it is the strand that the
/// object sees. Like an operation of the poller it ends exactly once, also when it was cancelled,
/// and a grant that came first stands.
class remote_agent {
public:
    /// Suspends `strand` until `what` has ended on `home`. One block of memory a wait; false: there
    /// is none, and nothing has begun. `invited`: it tries by itself first, behind all that is
    /// ready.
    [[nodiscard]] CORO_EXPORT static bool send(strand& strand, loop& home, remote_awaiter what,
                                               bool invited) noexcept;
};

template <typename Wait>
concept has_home = requires(Wait& wait) {
    { wait.home() } -> std::same_as<home_loop&>;
};

/// A wait for what other loops can take without a message.
template <typename Wait>
concept taken_from_afar = requires(Wait& wait, bool withdrawn) {
    { wait.try_from_afar() } -> std::same_as<bool>;   ///< try_now(), on another loop
    { wait.needs_agent() } -> std::same_as<bool>;     ///< to wait, where try_now() was in vain
    { wait.begin_by_agent() } -> std::same_as<bool>;  ///< false: the outcome is known
    { wait.follow_invitation(withdrawn) } -> std::same_as<void>;  ///< remote_awaiter has it
};

}}}  // namespace coro::v0::detail
