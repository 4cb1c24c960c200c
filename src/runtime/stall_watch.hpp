// stall_watch: finds out that no task of a run can ever be woken again, in the worlds over a
// kernel. (The simulation knows that by itself: world.hpp.)
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <coro/base/time.hpp>
#include <coro/core/detail/loop.hpp>

namespace coro { inline namespace v0 { namespace detail {

class loop_team;

/// What a loop knows of its own silence: it has no deadline, no operation and nothing that is
/// ready. Only when that has gone on for a while the loop stalls: a busy loop takes no lock for it.
class loop_silence {
public:
    /// A loop that is about to sleep with nothing to wait for. `work` counts what it has done since
    /// it began. Returns when it must look again. True in `stalls`: it has been silent for `limit`.
    time_point look_again(std::uint64_t work, time_point now, duration limit,
                          bool& stalls) noexcept {
        if (work != work_ || period_ == duration::zero()) {
            work_ = work;
            lasts_ = false;
            period_ = std::max(limit, shortest);
            next_ = now + period_;
        } else if (now >= next_) {
            lasts_ = true;
            period_ = std::min(2 * period_, std::max(limit, longest));
            next_ = now + period_;
        }
        stalls = lasts_;
        return next_;
    }

private:
    static constexpr duration shortest = std::chrono::milliseconds(1);
    static constexpr duration longest = std::chrono::minutes(1);

    std::uint64_t work_ = 0;
    duration period_{};
    time_point next_{};
    bool lasts_ = false;
};

/// The loops of a run that have stalled. When all have, and nothing outside of them can wake one,
/// each loop writes its part of a dump, and all tasks are cancelled. One lock, which a loop takes
/// around a sleep in which it stalls, and never else.
class stall_watch {
public:
    stall_watch(loop_team& team, duration limit);
    stall_watch(const stall_watch&) = delete;
    stall_watch& operator=(const stall_watch&) = delete;
    ~stall_watch() = default;

    [[nodiscard]] duration limit() const noexcept { return limit_; }

    /// The root task begins.
    void begin() noexcept;
    /// It has ended, and stalls mean nothing from now on. The dump, if there was a deadlock.
    std::optional<std::string> end() noexcept;

    /// A loop sleeps, and nothing of its own will wake it. Its inbox was empty after it had said
    /// that it sleeps.
    void loop_stalls() noexcept;
    /// It does no more, and has done nothing yet.
    void loop_goes_on() noexcept;

private:
    struct part {
        message_of<stall_watch> ask;
        std::string text;
    };

    [[nodiscard]] bool nothing_can_wake_one() noexcept;
    void ask_all() noexcept;
    void write_part() noexcept;
    void finish() noexcept;
    [[nodiscard]] std::string all_parts() const noexcept;

    loop_team& team_;
    const duration limit_;
    std::vector<part> parts_;  ///< by index of the loop
    message_of<stall_watch> finish_;

    std::mutex guard_;
    std::size_t stalled_ = 0;  ///< loops
    std::size_t written_ = 0;  ///< parts
    bool watches_ = false;     ///< the root task is alive
    bool asks_ = false;        ///< parts are being written
    std::optional<std::string> dump_;  ///< of the first deadlock; the thread of loop 0
};

}}}  // namespace coro::v0::detail
