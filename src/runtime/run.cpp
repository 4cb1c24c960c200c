// run(): makes a loop, drives it until the root task has ended, and checks that nothing is left.
#include <coro/runtime/run.hpp>

#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include <coro/base/detail/assert.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/detail/this_strand.hpp>

#include "runtime/loop_team.hpp"
#include "runtime/process.hpp"
#include "runtime/scheduler.hpp"
#include "runtime/signals.hpp"

namespace coro { inline namespace v0 {
namespace detail {
namespace {

/// The strand of the task given to run().
class root_strand final : public strand {
public:
    root_strand(scheduler& on, task_promise_base& root, std::coroutine_handle<> frame) noexcept
        : strand(on, on.root_scope()) {
        name = "main";
        static constexpr strand_kind as_root{.resume = &resume_coroutine,
                                             .finished =
                                                 [](detail::strand& self) noexcept {
                                                     scheduler_of(*self.loop).ending = true;
                                                     strand_ended(self);
                                                 },
                                             .granted = nullptr};
        kind = &as_root;
        put_first(*this, root, frame);
        strand_spawned(*this);
        on.make_ready(*this);
    }
};

/// What the first and second signal do to a loop: stop, cancel after the drain, cancel.
class stop_by_signal {
public:
    stop_by_signal(loop_team& loops, duration drain) noexcept
        : loops_(loops), loop_(loops.at(0)), drain_(drain) {
        loop_.set_turn_hook([](void* self) noexcept { static_cast<stop_by_signal*>(self)->look(); },
                           this);
    }
    stop_by_signal(const stop_by_signal&) = delete;
    stop_by_signal& operator=(const stop_by_signal&) = delete;
    ~stop_by_signal() {
        loop_.set_turn_hook(nullptr, nullptr);
        if (timer_.armed()) loop_.disarm_timer(timer_);
    }

private:
    void look() noexcept {
        const unsigned received = stop_signals_received();
        if (received == seen_) return;
        if (seen_ == 0) {
            loop_.root_scope().request_stop();
            loops_.pass_on_stop();
            if (received == 1 && drain_ > duration::zero())
                loop_.arm_timer(timer_, saturating_add(loop_.read_clock(), drain_));
            else
                cancel();
        } else {
            cancel();
        }
        seen_ = received;
    }

    void cancel() noexcept {
        loop_.root_scope().cancel();
        loops_.pass_on_cancel();
    }

    loop_team& loops_;
    scheduler& loop_;
    duration drain_;
    unsigned seen_ = 0;
    member_timer<&stop_by_signal::cancel> timer_{*this};
};

std::string dump_of(scheduler& loop) {
    string_sink text;
    loop.dump(text);
    if (text.content.ends_with('\n')) text.content.pop_back();
    return std::move(text.content);
}

/// The tasks of all loops.
std::string dump_of(loop_team& team) {
    std::string all;
    for (unsigned index = 0; index < team.size(); ++index) {
        const loop_entry as_its(&team.at(index));  // scopes are asked on their own loop
        const std::string text = dump_of(team.at(index));
        if (text.empty()) continue;
        if (!all.empty()) all += '\n';
        if (team.size() > 1) all += "loop " + std::to_string(index) + ":\n";
        all += text;
    }
    return all;
}

/// Turns the loops of a simulation until its root task has ended. When nothing can happen any more,
/// all tasks are cancelled. Returns the dump of that moment, or nothing.
std::optional<std::string> drive_simulation(loop_team& team) {
    std::optional<std::string> stuck_in;
    world& all = team.world();
    all.stuck_is_looked_at = true;
    while (!team.at(0).ending) {
        team.turn_next();
        if (!std::exchange(all.stuck, false)) continue;
        if (stuck_in) {
            std::fprintf(stderr, "%s\n", dump_of(team).c_str());
            CORO_ASSERT(false, "simulation: nothing can ever happen again, and these tasks did not "
                               "end when they were cancelled");
        }
        stuck_in = dump_of(team);
        team.at(0).root_scope().cancel();
        team.pass_on_cancel();
    }
    all.stuck_is_looked_at = false;
    return stuck_in;
}

/// Throws `Stuck`, and in it what `main` threw when it was cancelled.
template <typename Stuck>
[[noreturn]] void throw_stuck(const std::string& dump, const std::exception_ptr& from_main) {
    if (!from_main || is_cancelled_exception(from_main)) throw Stuck(dump);
    const std::string text = dump + "\nmain then ended with ";
    try {
        std::rethrow_exception(from_main);
    } catch (const std::exception& problem) {
        std::throw_with_nested(Stuck(text + "an exception: " + problem.what()));
    } catch (...) {
        std::throw_with_nested(Stuck(text + "an exception that is no std::exception"));
    }
}

}  // namespace

loop_of_parent::loop_of_parent() noexcept : kept_(current) {
    CORO_ASSERT(current == nullptr || !scheduler_of(*current).poller().is_ours(),
                "run() inside of run() on one thread: co_await the task instead");
    current = nullptr;
}
loop_of_parent::~loop_of_parent() { current = kept_; }

loop_runner::loop_runner(const run_options& options) : team_(nullptr), options_(options) {
    if (options.raise_descriptor_limit) raise_descriptor_limit();
    auto made = std::make_unique<loop_team>(options);
    made->start();
    team_ = made.release();
    current = &team_->at(0);
}

loop_runner::~loop_runner() {
    // Only now: the frame of the root task is gone, and what its parameters held is closed.
    team_->stop();
    current = nullptr;
    delete team_;
}

void loop_runner::drive(task_promise_base& root, std::coroutine_handle<> frame) {
    scheduler& first = team_->at(0);
    const bool is_virtual = team_->world().is_virtual();
    const bool handle = options_.signals == signal_policy::handle && !is_virtual;
    const signal_guard signals(handle, first.poller());
    root_strand strand(first, root, frame);
    if (is_virtual) {
        if (const auto stuck_in = drive_simulation(*team_))
            throw_stuck<simulation_stuck>(*stuck_in, root.error);
    } else {
        std::optional<stop_by_signal> stop;
        if (signals.installed()) stop.emplace(*team_, options_.drain);
        team_->stalls().begin();
        while (!first.ending) first.turn();
        if (const auto stuck_in = team_->stalls().end())
            throw_stuck<deadlock>(*stuck_in, root.error);
    }
    signal_ = signals.last_signal();
}

void loop_runner::forbid_cancelled(std::exception_ptr& error) const {
    if (is_cancelled_exception(error)) error = std::make_exception_ptr(interrupted(signal_));
}

int report_exit(const std::exception_ptr& error, bool tell_signal) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const interrupted& end) {
        if (end.signal() != 0) return tell_signal ? 128 + end.signal() : 0;
        std::fprintf(stderr, "coro: main ended: %s\n", end.what());
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "coro: main ended: %s\n", problem.what());
    } catch (...) {
        std::fprintf(stderr, "coro: main ended with an exception that is no std::exception\n");
    }
    return 1;
}

}  // namespace detail

std::string_view poller_reason() noexcept {
    return detail::scheduler_of(detail::this_loop()).reason();
}

}}  // namespace coro::v0
