// loop_pulse: what a loop shows of its turns to every thread, without a lock.
#pragma once

#include <atomic>
#include <cstdint>

#include <coro/base/time.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Words that the loop stores and that any thread loads. They cost two stores a turn, one a sleep
/// and one a resumption, all of them plain instructions.
class loop_pulse {
public:
    /// What a thread has seen.
    struct seen {
        std::uint64_t beat = 0;
        time_point turn_began{};
        std::uint32_t resumed = 0;  ///< the number of the task resumed last; 0: none yet

        /// It is inside of a turn: it does not sleep in its poller.
        [[nodiscard]] bool turns() const noexcept { return beat % 2 != 0; }
        [[nodiscard]] std::uint64_t turn() const noexcept { return beat / 2; }
    };

    // --- the loop

    void turn_begins(std::uint64_t turn, time_point now) noexcept {
        turn_began_.store(now.time_since_epoch().count(), std::memory_order_relaxed);
        beat_.store(2 * turn + 1, std::memory_order_release);
    }
    void falls_asleep(std::uint64_t turn) noexcept {
        beat_.store(2 * turn, std::memory_order_relaxed);
    }
    void resumes(std::uint32_t task) noexcept {
        resumed_.store(task, std::memory_order_relaxed);
    }

    // --- any thread

    /// The time is that of the turn in `beat` or of a later one: who sees a loop stand never sees
    /// it stand for too long.
    [[nodiscard]] seen look() const noexcept {
        seen now;
        now.beat = beat_.load(std::memory_order_acquire);
        now.turn_began = time_point(duration(turn_began_.load(std::memory_order_relaxed)));
        now.resumed = resumed_.load(std::memory_order_relaxed);
        return now;
    }

private:
    /// 2n + 1 while the loop is in turn n, 2n while it sleeps after it. It never comes twice.
    std::atomic<std::uint64_t> beat_{0};
    std::atomic<clock::rep> turn_began_{0};
    std::atomic<std::uint32_t> resumed_{0};
};

}}}  // namespace coro::v0::detail
