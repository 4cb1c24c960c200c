// lookout: a thread of a run that turns no loop, and so can speak while a loop stands.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <coro/runtime/run.hpp>

#include "runtime/loop_witness.hpp"
#include "runtime/signals.hpp"
#include "runtime/signals_probe.hpp"
#include "runtime/thread.hpp"
#include "runtime/world.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// Writes the dump of the process when the signal for it comes, and reports a loop of its run that
/// has not turned for the span of the watchdog. It looks four times in that span.
class lookout {
public:
    /// nullptr where the options ask for neither. Requires: the world has threads.
    /// Throws: io_error (invalid_argument, device_or_resource_busy, too_many_files_open,
    /// too_many_files_open_in_system, resource_unavailable_try_again).
    static std::unique_ptr<lookout> begin(const run_options& options, world& in, std::uint64_t run);
    lookout(const lookout&) = delete;
    lookout& operator=(const lookout&) = delete;
    ~lookout();

private:
    /// What is known of a loop, by its index.
    struct watched {
        std::uint64_t reported = 0;  ///< the word of its pulse that was reported last
        std::uint64_t beat = 0;      ///< the turn that it was seen in last
        duration lost{};             ///< of that turn: this thread did not run either
    };
    /// This thread, and so perhaps the process, did not run from then until then.
    struct absence {
        time_point from;
        time_point until;
    };

    lookout(const run_options& options, world& in, std::uint64_t run);
    void keep_watch() noexcept;
    void answer_signal() const noexcept;
    void look_at_loops(absence away) noexcept;
    void report_hold(const loop_view& which, duration stood, duration lost) noexcept;

    world& world_;
    const std::uint64_t run_;
    const duration span_;  ///< max(): nobody is watched
    const duration tick_;
    bell bell_;
    const dump_signal signal_;
    std::optional<thread_probe> probe_;
    std::vector<watched> watched_;
    time_point trusted_from_ = time_point::min();  ///< this thread, and so the process, ran since
    std::atomic<bool> ending_{false};
    thread thread_;
};

}}}  // namespace coro::v0::detail
