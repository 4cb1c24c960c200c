// The turn of a loop; see scheduler.hpp for its six steps.
#include "runtime/scheduler.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <source_location>
#include <thread>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/report.hpp>
#include <coro/runtime/sleep.hpp>

#include "core/frame_census.hpp"
#include "runtime/loop_team.hpp"
#include "runtime/misuse_place.hpp"
#include "runtime/processors.hpp"
#include "runtime/signals.hpp"
#include "runtime/world.hpp"

namespace coro { inline namespace v0 { namespace detail {

scheduler::scheduler(std::unique_ptr<detail::poller> poller, scheduler_options options)
    : poller_(std::move(poller)),
      options_(std::move(options)),
      timers_(poller_->now()),
      spin_(options_.spin && !options_.virtual_time ? adaptive_spin::default_window
                                                    : duration::zero()) {
    spin_.set_room(options_.loops, available_processors());
    scope_access::open_root(root_);
    turn_time = poller_->now();
    poller_->turn_time = turn_time;
    hooks = options_.hooks;
    index = options_.index;
    team = options_.team;
    gate_ = std::make_shared<loop_gate>(*this);
    if (options_.hold_limit != duration::max())
        holds_ = std::make_unique<hold_watch>(*this, *poller_, options_.hold_limit);
    write_misuse_places_with_tasks();
    if (address_sanitizer_is_there()) blocks.recycle_nothing();
}

scheduler::~scheduler() {
    check_no_signals_watched(*this);
    disappear();
    // A thread that has just posted may not have left post() yet: a few instructions.
    while (mailbox_.has_poster()) std::this_thread::yield();
    while (loop_guest* left = guests.pop_front()) delete left;
    add_frames_of_ended_loop(frames_alive);
}

void scheduler::turn(bool may_sleep) noexcept {
    ++turns_;
    turn_time = poller_->now();
    poller_->turn_time = turn_time;
    pulse.turn_begins(turns_, turn_time);
    timers_fired_ += timers_.expire(turn_time, timers_per_turn, [this](time_point due) noexcept {
        if (turn_time > due + overslept) [[unlikely]] collect_all();
    });
    const std::uint64_t posts_before = posts_;
    std::size_t ran = 0;
    if (unrun_ != nullptr || mailbox_.holds_something()) ran = run_posted(posts_per_turn);
    if (holds_ != nullptr) [[unlikely]] holds_->posts_ran(ran, posts_ - posts_before);
    const std::uint64_t resumed_before = resumed_;
    const detail::strand* const last = resume_ready();
    if (!turn_ends_.empty()) run_turn_ends();
    if (turn_hook_ != nullptr) turn_hook_(turn_hook_user_);
    if (holds_ != nullptr) [[unlikely]] holds_->turn_ran(resumed_ - resumed_before, last);
    const bool has_work = has_ready() || unrun_ != nullptr || !deferred_.empty();
    if (has_work || ending || !may_sleep) collect(time_point::min());
    else sleep();
}

void scheduler::appear() {
    witness_ = std::make_shared<loop_witness>(*this);
    witness_->appear();
}

bool scheduler::has_work() noexcept {
    return has_ready() || unrun_ != nullptr || !deferred_.empty() || !turn_ends_.empty() ||
           mailbox_.holds_something() || poller_->has_more() ||
           timers_.next_deadline() <= poller_->now();
}

void scheduler::reorder_ready(world& pick) noexcept {
    forget_a_post();
    std::size_t count = 0;
    for (const detail::strand* each = ready_head; each != nullptr && count != reordered_at_most;
         each = each->next_ready)
        ++count;
    if (count < 2) return;
    std::size_t place = pick.choose(count);
    if (place == 0) return;
    detail::strand* before = ready_head;
    while (--place != 0) before = before->next_ready;
    detail::strand* const chosen = before->next_ready;
    before->next_ready = chosen->next_ready;
    if (ready_tail == chosen) ready_tail = before;
    chosen->next_ready = ready_head;
    ready_head = chosen;
}

void scheduler::run_turn_ends() noexcept {
    while (!turn_ends_.empty()) {
        turn_end* work = turn_ends_.pop_front();
        work->call(*work);
    }
}

const detail::strand* scheduler::resume_ready() noexcept {
    stack_base = __builtin_frame_address(0);
    for (unsigned budget = options_.resumes; budget != 0; --budget) {
        detail::strand* strand = pop_ready();
        if (strand == nullptr) break;
        ++resumed_;
        running = strand;
        pulse.resumes(strand->number);
        depth = 0;
        inline_budget = inline_completions;
        if (hooks != nullptr) [[unlikely]]
            if (hooks->resumed != nullptr) hooks->resumed(*strand, hooks->user);
        // The strand may end inside, and clears `running` then.
        strand->kind->resume(*strand);
        while (next) {
            depth = 0;
            std::exchange(next, {}).resume();
        }
        if (hooks != nullptr && hooks->suspended != nullptr && running != nullptr) [[unlikely]]
            hooks->suspended(*running, hooks->user);
    }
    return std::exchange(running, nullptr);
}

bool scheduler::collect(time_point until) noexcept {
    operation_list completed;
    completed.append(deferred_);
    poller_->wait(until, completed);
    operation* const first = completed.front();
    return first == nullptr || finish_completed(*first);
}

/// A completion that came before a deadline wins over it. That holds also when the process was
/// stopped, or a task held the thread, until the deadline had passed. All of it is collected,
/// however small a batch is.
void scheduler::collect_all() noexcept {
    operation_list completed;
    completed.append(deferred_);
    // Nothing is asked for meanwhile, so there is an end to it; but wake-ups may come for ever. A
    // socket has two operations, each comes in two steps at most, and io_uring takes 20 at a time.
    for (std::uint64_t rounds = 4 + poller_->census().sockets / 4; rounds != 0; --rounds) {
        poller_->wait(time_point::min(), completed);
        if (!poller_->has_more()) break;
    }
    operation* const first = completed.front();
    if (first == nullptr) return;
    bytes_of_turn_ = turns_;
    bytes_left_ = std::numeric_limits<std::int64_t>::max();
    finish_completed(*first);
    bytes_left_ = bytes_per_turn;
}

bool scheduler::finish_completed(operation& first) noexcept {
    bool peers_spoke = false;
    operation* rest = &first;
    do {
        operation* const op = std::exchange(rest, rest->next);
        op->next = nullptr;
        if (op->result >= large_transfer && !ends_in_this_turn(*op)) [[unlikely]] {
            deferred_.push(*op);
            continue;
        }
        peers_spoke = peers_spoke || !sends(op->code);
        // A short transfer that must go on is submitted again without waking its owner.
        if (op->advance != nullptr && !op->advance(*op)) continue;
        grant(*op->owner);
    } while (rest != nullptr);
    return peers_spoke;
}

bool scheduler::ends_in_this_turn(const operation& large) noexcept {
    if (bytes_of_turn_ != turns_) {
        bytes_of_turn_ = turns_;
        bytes_left_ = bytes_per_turn;
    }
    if (bytes_left_ <= 0) return false;
    bytes_left_ -= large.result;
    return true;
}

void scheduler::sleep() noexcept {
    time_point deadline = timers_.next_deadline();
    if (deadline <= turn_time) {
        collect(time_point::min());
        return;
    }
    // The clock of the turn is good enough for the beginning of a silence. The work since then was
    // short, or there was no silence to speak of.
    const duration span = spin_.spin_for(turn_time);
    const time_point until = std::min(saturating_add(turn_time, span), deadline);
    if (span > duration::zero()) {
        if (spin(until)) return;
        // What came while it looked may have set a timer, though nobody is ready.
        deadline = timers_.next_deadline();
    }
    const bool stalls =
        deadline == never && options_.stalls != nullptr && is_silent(deadline);
    if (!mailbox_.falls_asleep()) {
        collect(time_point::min());
        return;
    }
    if (stalls) [[unlikely]] options_.stalls->loop_stalls();
    ++sleeps_;
    pulse.falls_asleep(turns_);
    const bool ended = collect(deadline);
    mailbox_.wakes_up();
    if (stalls) [[unlikely]] options_.stalls->loop_goes_on();
    if (ended) spin_.silence_ended(poller_->now());
}

bool scheduler::is_silent(time_point& look_again) noexcept {
    if (outside_waits != 0 || has_operations()) return false;
    bool stalls = false;
    const duration limit = options_.stalls->limit();
    look_again = silence_.look_again(resumed_ + posts_, turn_time, limit, stalls);
    return stalls;
}

/// Polls instead of sleeping; true when something came.
bool scheduler::spin(time_point until) noexcept {
    ++spins_;
    const std::uint64_t wakes_before = poller_->counters.wakes;
    time_point present{};
    do {
        const bool ended = collect(time_point::min());
        present = poller_->now();
        spin_.looked(present);
        // A wake-up is spent by the look that meets it: sleeping now would sleep over a signal.
        const bool woken = poller_->counters.wakes != wakes_before;
        if (has_ready() || woken || !deferred_.empty() || !turn_ends_.empty() ||
            mailbox_.holds_something()) {
            if (!ended) return true;
            ++spin_hits_;
            spin_.silence_ended(present);
            if (spin_.wants_sample(present)) spin_.sample(present, involuntary_switches());
            return true;
        }
    } while (present < until);
    spin_.missed();
    if (spin_.wants_sample(present)) spin_.sample(present, involuntary_switches());
    return false;
}

// Not virtual: the table's pointer stands among words that a turning loop writes all the time, and
// each post from another processor would fetch them.
void loop::post(posted& work) noexcept { scheduler_of(*this).post_here(work); }
void loop::post_foreign(posted& work) noexcept {
    scheduler_of(*this).post_here_foreign(work);
}

void scheduler::post_here_foreign(posted& work) noexcept {
    // Until the post the work keeps the loop alive; from then on only this count does.
    mailbox_.poster_enters();
    post_here(work);
    mailbox_.poster_leaves();
}

void scheduler::refuse_foreign_tasks() noexcept {
    foreign_refused_ = true;
    if (foreign_tasks_ == 0) tell_team_of_quiet();
    else root_.cancel();
}

void scheduler::tell_team_of_quiet() noexcept { team->loop_is_quiet(); }

std::size_t scheduler::run_posted(std::size_t most) noexcept {
    if (unrun_ == nullptr) {
        if (!mailbox_.holds_something()) return 0;
        unrun_ = mailbox_.take_all();
    }
    std::size_t ran = 0;
    for (; unrun_ != nullptr && ran != most; ++ran) {
        posted* work = std::exchange(unrun_, unrun_->next);
        ++posts_;
        sanitizer_takes(work);
        work->run(*work);  // may destroy it
    }
    if (unrun_ != nullptr) [[unlikely]] ++posts_put_off_;
    return ran;
}

void scheduler::run_all_posted() noexcept {
    constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
    run_posted(all);  // what is left of earlier turns, if anything is
    run_posted(all);
}

bool scheduler::submit_unowned(operation& op) noexcept {
    if (!poller_->submit(op)) return true;
    if (op.result < static_cast<std::int32_t>(most_bytes_at_once)) [[likely]] return false;
    deferred_.push(op);
    return true;
}

void scheduler::report_stubborn(detail::strand& strand) noexcept {
    if (strand.cancellations >= stubborn_reported) return;
    strand.cancellations += stubborn_reported;
    const auto site = strand.leaf != nullptr ? strand.leaf->awaiting : std::source_location();
    std::array<char, 512> text;  // no string: memory may be what the task is short of
    const int size = std::snprintf(text.data(), text.size(),
                                   "was cancelled 1000 times and still awaits; it goes through the "
                                   "run queue each time%s%s%s%s",
                                   site.line() != 0 ? ", now at " : "",
                                   site.line() != 0 ? site.file_name() : "",
                                   site.line() != 0 ? ":" : "",
                                   site.line() != 0 ? std::to_string(site.line()).c_str() : "");
    report({.level = severity::warning, .verb = "cancel", .endpoint = {}, .error = {},
            .text = {text.data(), std::min(text.size() - 1, static_cast<std::size_t>(size))},
            .task = strand.name != nullptr ? strand.name : "(unnamed task)"});
}

loop_stats scheduler::stats() const noexcept {
    const poller_counters& io = poller_->counters;
    const poller_census alive = poller_->census();
    loop_stats all;
    all.poller = poller_->name();
    all.turns = turns_;
    all.resumed = resumed_;
    all.sleeps = sleeps_;
    all.spins = spins_;
    all.spin_hits = spin_hits_;
    all.timers_fired = timers_fired_;
    all.timers_armed = timers_.size();
    all.posts = posts_;
    all.posts_put_off = posts_put_off_;
    all.operations_submitted = io.submitted;
    all.operations_completed = io.completed;
    all.receive_calls = io.receives;
    all.send_calls = io.sends;
    all.would_block = io.would_block;
    all.wait_calls = io.waits;
    all.enter_calls = io.enters;
    all.control_calls = io.controls;
    all.queue_overflows = io.overflows;
    all.buffers_exhausted = io.no_buffers;
    all.frames = frames_alive;
    all.operations = alive.operations + beside.transfers;
    all.sockets = alive.sockets + beside.streams;
    all.leases = alive.leases;
    return all;
}

room_maker::room_maker() noexcept { scheduler_of(this_loop()).room_makers.push_back(*this); }

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 {

loop_stats current_loop_stats() noexcept {
    return detail::scheduler_of(detail::this_loop()).stats();
}

}}  // namespace coro::v0
