// Whether an idle loop should look before it sleeps: the decision alone, fed with times.
//
// Waking a sleeping thread costs more than anything else at low concurrency. Looking for up to 100
// us instead gave 2.6 times the throughput on one busy connection. (With a window of 50 us it never
// began: a silence whose both ends sleep is two wake-ups long, 80 us on the machine of
// docs/performance.md.) Looking in vain costs a processor. So the loop looks only while the last
// silence was short, and less the more often it was in vain:
//
//   silence begins ──► spin_for(now) ── 0 ──────────────────────────► sleep ──► silence_ended(now)
//                           └─ span > 0: look until now + span ─┬─ found ──────────────────┘▲
//                                                               └─ missed() ──► sleep ──────┘
//
//  1. It spins only if the silence before was shorter than the window.
//  2. Each miss halves the span; below 4 us it is 0. Each hit doubles it, up to the window.
//  3. A sleep that ended within the window of its silence brings a span of 0 back to the window.
//  4. It never spins with as many loops as processors: the one it waits for could not run.
//  5. It rests for a second when others want this processor. The thread is preempted then: about as
//     often as it finds something, or for long. The peer that it has just woken preempts it too,
//     because the system likes to put a woken thread beside its waker. That is rare (1 in 100 finds
//     where the machine is idle) and short. When it counted like the others, a loop with an idle
//     processor beside it rested most of the time (decision 0081).
#pragma once

#include <chrono>
#include <cstdint>

#include <coro/base/time.hpp>

namespace coro { inline namespace v0 { namespace detail {

class adaptive_spin {
public:
    static constexpr duration default_window = std::chrono::microseconds(100);
    static constexpr duration shortest_span = std::chrono::microseconds(4);
    static constexpr duration sample_interval = std::chrono::milliseconds(100);
    static constexpr duration rest = std::chrono::seconds(1);
    /// Involuntary context switches within one sample interval that are taken for normal, and one
    /// more for so many finds. On a machine with a computing thread for each processor the loop was
    /// preempted once a find.
    static constexpr std::uint64_t tolerated_switches = 4;
    static constexpr std::uint64_t finds_per_switch = 8;
    /// A look that finds little takes 1 to 2 us. One of that length was preempted by a thread that
    /// computes, or it moved megabytes. As many are tolerated as switches are without finds.
    static constexpr duration long_look = std::chrono::microseconds(500);

    /// A window of 0 never spins.
    explicit adaptive_spin(duration window = default_window) noexcept : window_(window) {}

    /// Rule 4; to be called when loops start or end.
    void set_room(unsigned loops, unsigned processors) noexcept { room_ = loops < processors; }

    /// The loop has nothing to run: how long to look before sleeping, 0 to sleep at once.
    [[nodiscard]] duration spin_for(time_point now) noexcept;
    /// It has looked, and was told the time.
    void looked(time_point now) noexcept;
    /// The span is over and nothing came; the loop goes to sleep.
    void missed() noexcept;
    /// Something came, found by looking or by being woken.
    void silence_ended(time_point now) noexcept;

    /// Whether to hand over the thread's count of involuntary switches now. That is so only while
    /// it spins, and no more than once in a sample interval, because asking is a system call.
    [[nodiscard]] bool wants_sample(time_point now) const noexcept;
    /// Rule 5. `involuntary_switches` counts from the start of the thread.
    void sample(time_point now, std::uint64_t involuntary_switches) noexcept;

private:
    const duration window_;
    duration span_ = duration::zero();
    time_point silent_since_{};
    time_point resting_until_ = time_point::min();
    time_point sampled_at_{};
    time_point looked_at_{};  ///< in this silence; none: not yet
    std::uint64_t switches_ = 0;
    std::uint64_t finds_ = 0;       ///< by looking, since the sample
    std::uint64_t long_looks_ = 0;  ///< since the sample
    bool room_ = false;
    bool last_silence_short_ = false;
    bool spun_ = false;    ///< in this silence
    bool missed_ = false;  ///< in this silence
    bool sampled_ = false;
    bool spun_since_sample_ = false;
};

}}}  // namespace coro::v0::detail
