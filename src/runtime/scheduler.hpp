// The loop: run queue, timers, inbox and poller, turn by turn.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include <coro/core/cancel_scope.hpp>
#include <coro/core/detail/loop.hpp>
#include <coro/runtime/detail/room_maker.hpp>
#include <coro/runtime/stats.hpp>

#include "core/sanitizers.hpp"
#include "runtime/adaptive_spin.hpp"
#include "runtime/hold_watch.hpp"
#include "runtime/loop_pulse.hpp"
#include "runtime/loop_witness.hpp"
#include "runtime/mailbox.hpp"
#include "runtime/poller.hpp"
#include "runtime/stall_watch.hpp"
#include "runtime/timer_queue.hpp"

namespace coro { inline namespace v0 { namespace detail {

class transport_table;
class world;

/// After so many resumptions the poller is asked, so that I/O is never starved by computation.
inline constexpr unsigned resumes_per_turn = 256;

struct scheduler_options {
    bool virtual_time = false;  ///< never spin
    /// A turn resumes no more; 1 where a seed decides which of those that are ready is next.
    unsigned resumes = resumes_per_turn;
    bool spin = true;
    unsigned loops = 1;
    unsigned index = 0;
    loop_team* team = nullptr;
    const task_hooks* hooks = nullptr;
    duration hold_limit = duration::max();  ///< a turn of that length is reported; max(): none
    stall_watch* stalls = nullptr;          ///< nullptr: nobody asks whether the run can go on
    std::string poller_reason;
};

/// What a loop_handle holds.
struct loop_gate : basic_loop_gate<loop> {
    using basic_loop_gate::basic_loop_gate;
};

/// What lives on a loop without belonging to a task: destroyed with the loop at the latest.
struct loop_guest : list_node<loop_guest> {
    virtual ~loop_guest() = default;
};

/// What the streams of a loop have under way that the poller does not know.
struct transport_census {
    std::uint64_t transfers = 0;  ///< pending reads and writes
    std::uint64_t streams = 0;    ///< transports that are open, or not yet gone
};

/// Which lines of a dump are wanted.
class line_choice {
public:
    /// Where the line of the strand with that number goes; nullptr: it is not wanted.
    [[nodiscard]] virtual text_sink* sink_for(std::uint32_t number) noexcept = 0;

protected:
    ~line_choice() = default;
};

/// One loop. A loop is not a thread: turn() may be called wherever it is the current one.
///
/// A turn has six steps. (1) Read the clock; when a deadline is long past, collect all that has
/// come. (2) Fire due timers, at most `timers_per_turn`. (3) Run what other threads posted, at most
/// `posts_per_turn`. (4) Resume what is ready, at most `resumes_per_turn`. (5) Ask the poller,
/// waiting until the nearest deadline only if nothing is ready. (6) Make the owners of completed
/// operations ready. Nobody is resumed inside (1)-(3), (5) and (6).
class scheduler final : public loop {
public:
    static constexpr unsigned resumes_per_turn = detail::resumes_per_turn;
    /// So many bytes moved at once weigh as much as one more answer at once.
    static constexpr std::int32_t inline_bytes_per_answer = 64 * 1024 / inline_completions;
    /// A turn tells of the end of so many bytes of large transfers, and the one that reaches it is
    /// the last. Who is told asks for the next one, so that this is what many of them move a turn.
    static constexpr std::int32_t bytes_per_turn = 1024 * 1024;
    static constexpr std::int32_t large_transfer = 32 * 1024;
    /// At most this many timers fire in a turn (1 M timers at one instant must not stall I/O).
    static constexpr std::size_t timers_per_turn = 1024;
    /// A turn that is so much later than a deadline asks the poller before timers fire.
    static constexpr duration overslept = std::chrono::milliseconds(1);
    /// At most so many posts run in a turn; the rest stays in front of the next one.
    static constexpr unsigned posts_per_turn = 256;

    scheduler(std::unique_ptr<detail::poller> poller, scheduler_options options);
    ~scheduler();

    /// One turn; does not sleep once `ending` is set, nor when it must not.
    void turn(bool may_sleep = true) noexcept;
    /// Set when the root task has ended: nothing will come any more that is worth waiting for.
    bool ending = false;
    intrusive_list<loop_guest> guests;  ///< owned
    intrusive_list<room_maker> room_makers;
    transport_table* transports = nullptr;  ///< one of them, made with the first transport
    transport_census beside;
    loop_pulse pulse;  ///< for every thread

    [[nodiscard]] detail::poller& poller() noexcept { return *poller_; }
    [[nodiscard]] cancel_scope& root_scope() noexcept { return root_; }
    [[nodiscard]] std::string_view reason() const noexcept { return options_.poller_reason; }
    [[nodiscard]] loop_stats stats() const noexcept;
    void dump(text_sink& out) noexcept;
    /// The line of the strand with that number, if it exists.
    void dump_one(std::uint32_t number, text_sink& out) noexcept;
    /// The lines of those strands that `choice` wants, in one walk over all.
    void dump_chosen(line_choice& choice) noexcept;

    /// Called once a turn, after the poller: what run() does about signals.
    void set_turn_hook(void (*hook)(void* user) noexcept, void* user) noexcept {
        turn_hook_ = hook;
        turn_hook_user_ = user;
    }

    /// From now on dump_all_loops() finds the loop. On the thread that turns it. Throws:
    /// std::bad_alloc.
    void appear();
    /// It does no more. May be repeated.
    void disappear() noexcept {
        if (witness_ != nullptr) witness_->disappear();
    }
    /// Called by a post that is none of the program's: it is not counted.
    void forget_a_post() noexcept { --posts_; }

    /// What is due at the end of a turn; for turn() itself, and after the last one.
    void run_turn_ends() noexcept;
    /// Runs all that other threads have posted; for run(), after the last turn.
    void run_all_posted() noexcept;

    // --- threads that are no loop of this run

    /// What a loop_handle holds: outlives the loop, and knows whether that still lives.
    [[nodiscard]] const std::shared_ptr<loop_gate>& gate() const noexcept { return gate_; }
    /// From now on foreign posts are refused. Those before it are in the inbox.
    void close_gate() noexcept { gate_->close(); }
    /// Tasks that foreign threads wait for. Once refused, none begins.
    void foreign_task_began() noexcept { ++foreign_tasks_; }
    void foreign_task_ended() noexcept {
        if (--foreign_tasks_ == 0 && foreign_refused_) tell_team_of_quiet();
    }
    [[nodiscard]] bool refuses_foreign_tasks() const noexcept { return foreign_refused_; }
    /// Cancels them and refuses more; the team is told when none is left. After the root task.
    void refuse_foreign_tasks() noexcept;

    // --- for the stall_watch, whose lock is held while this loop sleeps

    /// Whether another thread has a loop_handle of it, and so may post at any time.
    [[nodiscard]] bool is_known_outside() const noexcept {
        return gate_.use_count() > (witness_ != nullptr ? 2 : 1);
    }
    [[nodiscard]] bool inbox_holds_something() const noexcept {
        return mailbox_.holds_something();
    }

    /// What loop::post() and post_foreign() do.
    void post_here(posted& work) noexcept {
        sanitizer_gives(&work);
        if (mailbox_.push(work)) poller_->wake();
    }
    void post_here_foreign(posted& work) noexcept;

    // loop
    [[nodiscard]] time_point read_clock() noexcept override { return poller_->now(); }
    void arm_timer(timer_node& timer, time_point deadline) noexcept override {
        timers_.arm(timer, deadline);
    }
    void disarm_timer(timer_node& timer) noexcept override { timers_.disarm(timer); }
    void report_stubborn(detail::strand& strand) noexcept override;
    void at_turn_end(turn_end& work) noexcept override {
        if (!work.linked()) turn_ends_.push_back(work);
    }

    /// Asks for `op` on behalf of `strand`. True: pending, the strand must give way (it is made
    /// ready at the completion). False: done, op.result is set: the opposite of poller::submit().
    /// At most `inline_completions` a resumption are answered at once; after that the answer comes
    /// through the run queue.
    [[nodiscard]] bool submit(operation& op, detail::strand& strand) noexcept;
    /// The same for an operation without an owner, which has `advance`. At once it is given no more
    /// than one request may move: a full one is answered in the next turn.
    [[nodiscard]] bool submit_unowned(operation& op) noexcept;
    /// An operation that a transport has completed: its owner learns it as from the poller.
    void completed_elsewhere(operation& op) noexcept { deferred_.push(op); }
    /// Whether operations are under way, those included that are answered in the next turn.
    [[nodiscard]] bool has_operations() const noexcept {
        return !deferred_.empty() || beside.transfers != 0 || poller_->census().operations != 0;
    }

    // --- for loops that are turned one by one

    /// Whether a turn would do anything now. Requires: nobody posts meanwhile.
    [[nodiscard]] bool has_work() noexcept;
    [[nodiscard]] time_point next_deadline() const noexcept { return timers_.next_deadline(); }
    /// Has `pick` choose which of the oldest `reordered_at_most` strands that are ready is resumed
    /// next. Called by a post of the team.
    void reorder_ready(world& pick) noexcept;
    static constexpr std::size_t reordered_at_most = 64;

private:
    void tell_team_of_quiet() noexcept;
    /// Returns how many ran, those included that are none of the program's.
    std::size_t run_posted(std::size_t most) noexcept;
    /// Returns the strand that was resumed last, if it is still there.
    const detail::strand* resume_ready() noexcept;
    /// False: nothing came but the ends of our own sends, which say nothing about how long the
    /// peers keep silent.
    bool collect(time_point until) noexcept;
    void collect_all() noexcept;
    void sleep() noexcept;
    /// There is no deadline. Sets one at which to look again, if nothing of this loop's own can
    /// wake it. True: that has been so for a while.
    [[nodiscard, gnu::noinline]] bool is_silent(time_point& look_again) noexcept;
    bool spin(time_point until) noexcept;
    /// `first` and those linked behind it.
    bool finish_completed(operation& first) noexcept;
    /// Whether the bytes of this turn are enough for the end of a large transfer. Otherwise it is
    /// in front of the next one.
    [[gnu::noinline]] bool ends_in_this_turn(const operation& large) noexcept;

    std::unique_ptr<detail::poller> poller_;
    scheduler_options options_;
    std::shared_ptr<loop_gate> gate_;
    std::shared_ptr<loop_witness> witness_;  ///< nullptr before appear()
    std::size_t foreign_tasks_ = 0;
    bool foreign_refused_ = false;
    timer_queue timers_;
    adaptive_spin spin_;
    scope_access::owned root_;

    /// Answered at once beyond the budget of their resumption, or ended beyond that of their turn.
    operation_list deferred_;
    std::uint64_t bytes_of_turn_ = 0;  ///< the number of the turn that `bytes_left_` is of
    std::int64_t bytes_left_ = 0;
    intrusive_list<turn_end> turn_ends_;

    loop_silence silence_;
    std::unique_ptr<hold_watch> holds_;  ///< nullptr: nobody wants to know

    mailbox<posted> mailbox_;  ///< what other threads posted
    posted* unrun_ = nullptr;  ///< taken from there and not run yet, in order: all of it is older

    void (*turn_hook_)(void* user) noexcept = nullptr;
    void* turn_hook_user_ = nullptr;

    std::uint64_t turns_ = 0;
    std::uint64_t resumed_ = 0;
    std::uint64_t sleeps_ = 0;
    std::uint64_t spins_ = 0;
    std::uint64_t spin_hits_ = 0;
    std::uint64_t timers_fired_ = 0;
    std::uint64_t posts_ = 0;
    std::uint64_t posts_put_off_ = 0;
};

// Inline, since each read and write of a socket comes through here.
inline bool scheduler::submit(operation& op, detail::strand& strand) noexcept {
    op.owner = &strand;
    if (!poller_->submit(op)) return true;
    if (inline_budget > 0) [[likely]] {
        // Many bytes count like many answers. 64 KiB are a whole budget, so that one connection
        // with a full socket cannot hold the loop while it is copied out.
        inline_budget -= 1 + std::max(op.result, 0) / inline_bytes_per_answer;
        return false;
    }
    deferred_.push(op);  // its completion comes like that of any other, in the next turn
    return true;
}

/// The scheduler behind a loop; there is no other kind of loop.
inline scheduler& scheduler_of(loop& loop) noexcept { return static_cast<scheduler&>(loop); }

}}}  // namespace coro::v0::detail
