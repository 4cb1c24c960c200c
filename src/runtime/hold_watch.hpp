// hold_watch: notices a turn that took too long, and finds out in which task.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string_view>

#include <coro/core/detail/strand.hpp>
#include <coro/core/detail/loop.hpp>

#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// Reads the clock once or twice a turn, and never for each resumption: a long turn that has
/// resumed one task names that. After one that has resumed several, the hooks of the loop measure
/// each resumption for a minute. So the next hold is named.
class hold_watch {
public:
    /// After the last hold that was noticed each resumption is measured for so long.
    static constexpr duration measured_for = std::chrono::minutes(1);

    hold_watch(detail::loop& loop, detail::poller& poller, duration limit) noexcept
        : loop_(loop), poller_(poller), limit_(limit), users_(loop.hooks) {}
    hold_watch(const hold_watch&) = delete;
    hold_watch& operator=(const hold_watch&) = delete;

    /// The posts of a turn have run, as many as that, before any resumption. Of them so many were
    /// the program's; the others asked for a dump.
    void posts_ran(std::size_t count, std::uint64_t of_program) noexcept;
    /// The turn has done all but asking the poller. `only` is the strand if it resumed one and that
    /// is still there.
    void turn_ran(std::uint64_t resumed, const detail::strand* only) noexcept;

private:
    /// A strand at the moment at which it was resumed, for a report when it has ended.
    struct resumption {
        const detail::strand* strand = nullptr;
        const char* name = nullptr;
        std::source_location created{};
        std::source_location from{};
        time_point began{};
    };

    [[nodiscard]] static resumption look_at(const detail::strand& strand) noexcept;
    void measure(bool on) noexcept;
    void begin(detail::strand& strand) noexcept;
    void end(const detail::strand& strand, bool has_ended) noexcept;
    void tell(duration stood, const resumption& who, const std::source_location* now_at) noexcept;
    void tell(duration stood, std::string_view task, std::string_view in) noexcept;
    void report_hold(duration stood, std::string_view task, std::string_view in,
                     std::string_view advice) noexcept;

    detail::loop& loop_;
    poller& poller_;
    duration limit_;
    const task_hooks* users_;  ///< those of the program, which go on seeing everything
    task_hooks own_{};
    resumption running_{};
    time_point segment_began_{};  ///< of this turn: after its posts
    time_point measure_until_{};
    bool told_ = false;  ///< of this turn
};

}}}  // namespace coro::v0::detail
