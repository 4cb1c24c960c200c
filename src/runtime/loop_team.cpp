// Making, starting and ending the loops of one run().
//
// The order of an end: the root task has ended, and with it every task that it started, on whatever
// loop. What is left are tasks that foreign threads wait for, which may have children on any loop.
//  1. Each loop is told to refuse more of these and to cancel its own; it goes on turning.
//  2. The last loop that has none left sends `end` to all: now there is no task anywhere. Whatever
//     loops sent to each other before is in their inboxes before it.
//  3. A loop goes only when all have stopped turning: none is inside of a post() to another one.
#include "runtime/loop_team.hpp"

#include <algorithm>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <coro/base/report.hpp>
#include <coro/runtime/stats.hpp>

#include "runtime/make_poller.hpp"
#include "runtime/observer_hooks.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// More threads than this is a slip of the pen.
constexpr unsigned most_loops = 1024;
static_assert(most_loops <= 1u << loop_id::index_bits);

/// What all loops get when locked memory is too short for rings of the usual size: about 20 KiB
/// each instead of 130.
constexpr unsigned small_ring_entries = 64;
constexpr unsigned small_pool = 512;

[[noreturn]] void refuse(std::errc why, const std::string& reason) {
    throw io_error(std::make_error_code(why), "run", error_text(reason));
}

std::string loop_of(unsigned index, unsigned count) {
    return count == 1 ? "the loop"
                      : "loop " + std::to_string(index + 1) + " of " + std::to_string(count);
}

/// What is missing, and what to do: the words of what refused it do not say that.
[[noreturn]] void refuse_loop(unsigned index, unsigned count, const made_poller& made) {
    const std::string which = loop_of(index, count);
    switch (made.error) {
        case std::errc::too_many_files_open:
            refuse(made.error, "cannot begin: " + which + " got no descriptor, and each loop needs "
                               "three: raise the limit of open files, now " +
                               std::to_string(open_file_limit()) +
                               " (ulimit -n, LimitNOFILE=), or run fewer loops");
        case std::errc::too_many_files_open_in_system:
            refuse(made.error, "cannot begin: " + which + " got no descriptor, because the system "
                               "has none left: raise the sysctl fs.file-max, or close others");
        case std::errc::not_enough_memory:
            refuse(made.error, "cannot begin: no memory for " + which + ": " + made.reason +
                               ": raise the limit of address space (ulimit -v) or of the control "
                               "group, or run fewer loops");
        default: refuse(made.error, "cannot begin: " + made.reason);
    }
}

}  // namespace

namespace {

std::unique_ptr<world> make_world_of(const run_options& options) {
    made_world made = make_world(
        {.choice = options.poller, .seed = options.seed, .simulation = options.simulation});
    if (made.instance == nullptr) refuse(made.error, "cannot begin: " + made.reason);
    return std::move(made.instance);
}

}  // namespace

detail::loop& loop_of_this_run(loop_id id) noexcept { return current->team->at(id.index()); }

loop_team::loop_team(const run_options& options)
    : options_(options),
      world_(make_world_of(options)),
      blocking_(*world_, options.blocking_threads, options.blocking_queue) {
    if (options.loops == 0 || options.loops > most_loops)
        refuse(std::errc::invalid_argument, "options.loops is " + std::to_string(options.loops) +
                                                ": say 1 to " + std::to_string(most_loops));
    if (options.observer != nullptr) hooks_ = hooks_for(*options.observer);
    loops_.resize(options.loops);
    for (unsigned index = 0; index < options.loops; ++index)
        messages_.push_back(std::make_unique<messages>());
    stalls_ = std::make_unique<stall_watch>(*this, options.deadlock_limit);
    loops_[0].reset(make_loop(0, nullptr));
}

loop_team::~loop_team() {
    CORO_ASSERT(threads_.empty(), "the loops of a run ended before their threads");
    if (loops_[0] == nullptr) return;  // start() has thrown
    const loop_entry as_first(loops_[0].get());
    finish_loop(0);
}

/// Loop 0 decides for all: when it has io_uring, a loop to which that is refused is not made, and
/// `no_ring` says why.
scheduler* loop_team::make_loop(unsigned index, std::string* no_ring) {
    poller_terms terms;
    terms.epoll_only = !epoll_because_.empty();
    terms.strict = options_.strict || index != 0 || !small_because_.empty();
    if (!small_because_.empty()) {
        terms.options.ring_entries = small_ring_entries;
        terms.options.lease_buffers_most = small_pool;
    }
    made_poller made = world_->make_poller(index, terms);
    if (made.instance == nullptr && !made.no_ring.empty() && no_ring != nullptr) {
        *no_ring = std::move(made.no_ring);
        return nullptr;
    }
    if (made.instance == nullptr) refuse_loop(index, options_.loops, made);
    if (terms.epoll_only) {
        made.reason = epoll_because_;
    } else if (!small_because_.empty()) {
        made.reason += "; " + small_because_;
    } else if (index == 0) {
        may_fall_back_ = made.may_fall_back;
        if (made.fell_back) epoll_because_ = made.reason;
    }
    scheduler_options how;
    how.virtual_time = world_->is_virtual();
    if (world_->is_seeded()) how.resumes = 1;
    how.spin = options_.spin;
    how.loops = options_.loops;
    how.index = index;
    how.team = const_cast<loop_team*>(this);
    if (options_.observer != nullptr) how.hooks = &hooks_;
    how.hold_limit = options_.hold_limit;
    if (!world_->is_virtual() && options_.deadlock_limit != duration::max())
        how.stalls = stalls_.get();
    how.poller_reason = std::move(made.reason);
    auto* made_loop = new scheduler(std::move(made.instance), std::move(how));
    made_loop->id = loop_id(run_.number(), index);
    return made_loop;
}

void loop_team::start() {
    if (world_->is_virtual()) return start_stepped();
    lookout_ = lookout::begin(options_, *world_, run_.number());
    loops_[0]->appear();
    while (!start_all()) {
        fall_back();
        loops_[0]->appear();
    }
    report_choice();
}

/// Once for all loops, and not when all is as it should be.
void loop_team::report_choice() const noexcept {
    const std::string& text = epoll_because_.empty() ? small_because_ : epoll_because_;
    if (text.empty()) return;
    report({.level = severity::info, .verb = "run", .endpoint = {}, .error = {}, .text = text,
            .task = {}});
}

/// Some loops got io_uring, and some did not: a server would be as fast as its slowest loop, and
/// nobody would know why. So all of them get smaller rings, or all run on epoll, or none runs.
void loop_team::fall_back() {
    if (loops_[0] != nullptr) {
        const loop_entry as_first(loops_[0].get());
        finish_loop(0);
    }
    if (small_because_.empty()) {
        const std::string counted = std::to_string(without_ring_) + " of " +
                                    std::to_string(size()) + " loops got no io_uring: " + no_ring_;
        small_because_ = "rings of " + std::to_string(small_ring_entries) +
                         " entries for all, because " + counted;
        std::string still_none;
        loops_[0].reset(make_loop(0, &still_none));
        no_ring_ = counted;
    }
    if (loops_[0] == nullptr) {
        if (!may_fall_back_)
            refuse(std::errc::not_enough_memory,
                   "cannot begin: " + no_ring_ + "; io_uring was insisted on");
        epoll_because_ = "epoll: " + no_ring_ + "; set CORO_POLLER=io_uring to insist";
        loops_[0].reset(make_loop(0, nullptr));
    }
    phase_ = phase::starting;
    arrived_ = 0;
    without_ring_ = 0;
}

/// False: no loop of them runs, because io_uring was refused to some.
bool loop_team::start_all() {
    std::exception_ptr failed;
    unsigned index = 1;
    try {
        threads_.reserve(size());
        for (; index < size(); ++index) {
            const std::string name = "coro-" + std::to_string(index);
            threads_.push_back(
                world_->start_thread(name.c_str(), [this, index] { run_loop(index); }));
        }
    } catch (const std::system_error& refused) {
        const std::string text = "cannot begin: the thread of " + loop_of(index, size()) +
                                 " could not be started: raise the limits of threads and of "
                                 "address space (ulimit -u, ulimit -v, pids.max), or run fewer "
                                 "loops";
        failed = std::make_exception_ptr(io_error(refused.code(), "run", error_text(text)));
    } catch (...) {
        failed = std::current_exception();
    }
    bool refused = false;
    {
        std::unique_lock lock(guard_);
        changed_.wait(lock, [this] { return arrived_ == threads_.size(); });
        if (!failed) failed = failed_;
        refused = without_ring_ != 0;
        phase_ = failed || refused ? phase::given_up : phase::running;
        changed_.notify_all();
    }
    if (!failed && !refused) return true;
    join_all();
    if (failed) std::rethrow_exception(failed);
    return false;
}

/// Reports that a loop was made, or could not be, and waits for what becomes of all.
bool loop_team::arrive(unsigned index, scheduler* made, std::string&& no_ring,
                       std::exception_ptr error) noexcept {
    std::unique_lock lock(guard_);
    ++arrived_;
    if (made != nullptr) {
        loops_[index].reset(made);
    } else if (error) {
        if (!failed_) failed_ = std::move(error);
    } else {
        ++without_ring_;
        if (small_because_.empty()) no_ring_ = std::move(no_ring);
    }
    changed_.notify_all();
    changed_.wait(lock, [this] { return phase_ != phase::starting; });
    return phase_ == phase::running;
}

/// No loop goes while another one may still be inside of a post() to it.
void loop_team::wait_until_all_have_stopped() noexcept {
    std::unique_lock lock(guard_);
    ++stopped_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return stopped_ == loops_.size(); });
}

void loop_team::join_all() noexcept {
    for (thread& one : threads_) one.join();
    threads_.clear();
}

/// What the thread of a loop does.
void loop_team::run_loop(unsigned index) noexcept {
    scheduler* made = nullptr;
    std::exception_ptr error;
    std::string no_ring;
    try {
        made = make_loop(index, &no_ring);
        if (made != nullptr) made->appear();
    } catch (...) {
        error = std::current_exception();
        delete std::exchange(made, nullptr);
    }
    const loop_entry as_mine(made);
    const bool runs = arrive(index, made, std::move(no_ring), std::move(error));
    if (made == nullptr) return;
    if (runs) {
        while (!made->ending) made->turn();
        wind_down(*made);
        wait_until_all_have_stopped();
    }
    finish_loop(index);
}

namespace {

/// Sockets whose owners have just gone close at the last completion of what they had pending.
/// Transports go at the end of a turn, and may close another stream then.
void run_until_nothing_is_pending(scheduler& mine) noexcept {
    do {
        while (mine.has_operations()) mine.turn();
        mine.run_turn_ends();
    } while (mine.has_operations());
}

}  // namespace

/// The last turns of a loop: it is the running one.
void loop_team::wind_down(scheduler& mine) noexcept {
    mine.ending = false;
    run_until_nothing_is_pending(mine);
    mine.disappear();
    mine.close_gate();
    mine.run_all_posted();  // while all loops are there: what was posted may post to them
    run_until_nothing_is_pending(mine);
}

/// On the thread of the loop, which is the running one. One that was given up has not wound down,
/// and another thread may have found it in the list and be about to post to it.
void loop_team::finish_loop(unsigned index) noexcept {
    loops_[index]->disappear();
    loops_[index]->close_gate();
    loops_[index]->run_all_posted();  // its poster waits for nothing any more, but owns memory
    current->blocks.release();
    current = nullptr;
    loops_[index].reset();
}

void loop_team::send(message& what, unsigned to, void (*run)(posted& self) noexcept) noexcept {
    what.to = loops_[to].get();
    what.run = run;
    loops_[to]->post(what);
}

void loop_team::loop_is_quiet() noexcept {
    if (quiet_.fetch_add(1) + 1 != size()) return;
    for (unsigned index = 0; index < size(); ++index) {
        send(messages_[index]->end, index,
             [](posted& self) noexcept { static_cast<message&>(self).to->ending = true; });
    }
}

void loop_team::stop() noexcept {
    scheduler& first = *loops_[0];
    first.ending = false;
    for (unsigned index = 0; index < size(); ++index) {
        send(messages_[index]->refuse, index, [](posted& self) noexcept {
            static_cast<message&>(self).to->refuse_foreign_tasks();
        });
    }
    if (stepped_) return stop_stepped();
    while (!first.ending) first.turn();
    wind_down(first);
    blocking_.end(options_.blocking_limit);
    wait_until_all_have_stopped();
    join_all();
}

/// The clock moves: what foreign threads wait for may sleep while it cleans up. When nothing is due
/// ever, the next thing comes from one of these threads.
void loop_team::run_virtual_end() noexcept {
    const auto all_end = [this] {
        return std::all_of(loops_.begin(), loops_.end(),
                           [](const auto& loop) { return loop->ending; });
    };
    world_->stuck_is_looked_at = true;
    while (!all_end()) {
        turn_next();
        if (std::exchange(world_->stuck, false)) std::this_thread::yield();
    }
    world_->stuck_is_looked_at = false;
}

void loop_team::stop_stepped() noexcept {
    const auto one_turns = [this] {
        bool turned = false;
        for (unsigned index = 0; index < size(); ++index) {
            if (loops_[index]->ending) continue;
            step(index);
            turned = true;
        }
        return turned;
    };
    if (world_->is_virtual()) {
        run_virtual_end();
    } else {
        while (one_turns()) {
        }
    }
    for (unsigned index = size(); index-- > 1;) {
        const loop_entry as_mine(loops_[index].get());
        wind_down(*loops_[index]);
    }
    const loop_entry as_first(loops_[0].get());
    wind_down(*loops_[0]);
    blocking_.end(options_.blocking_limit);
    for (unsigned index = size(); index-- > 1;) {
        const loop_entry as_mine(loops_[index].get());
        finish_loop(index);
    }
}

void loop_team::pass_on_stop() noexcept {
    for (unsigned index = 1; index < size(); ++index) {
        if (std::exchange(messages_[index]->stop_sent, true)) continue;
        send(messages_[index]->stop, index, [](posted& self) noexcept {
            static_cast<message&>(self).to->root_scope().request_stop();
        });
    }
}

void loop_team::pass_on_cancel() noexcept {
    for (unsigned index = 1; index < size(); ++index) {
        if (std::exchange(messages_[index]->cancel_sent, true)) continue;
        send(messages_[index]->cancel, index, [](posted& self) noexcept {
            static_cast<message&>(self).to->root_scope().cancel();
        });
    }
}

void loop_team::start_stepped() {
    stepped_ = true;
    report_choice();
    for (unsigned index = 1; index < size(); ++index) {
        loops_[index].reset(make_loop(index, nullptr));
    }
    for (const auto& loop : loops_) loop->appear();
}

void loop_team::turn(unsigned index, bool may_sleep) noexcept {
    scheduler& loop = *loops_[index];
    if (world_->is_seeded() && !std::exchange(messages_[index]->reorder_sent, true)) {
        // A post, because it is due between the timers of the turn and the strands.
        send(messages_[index]->reorder, index, [](posted& self) noexcept {
            scheduler& mine = *static_cast<message&>(self).to;
            loop_team& team = *mine.team;
            team.messages_[mine.index]->reorder_sent = false;
            mine.reorder_ready(*team.world_);
        });
    }
    const loop_entry as_mine(&loop);
    loop.turn(may_sleep);
}

void loop_team::turn_next() noexcept {
    if (size() == 1) return turn(0, true);
    std::size_t working = 0;
    for (const auto& loop : loops_)
        if (loop->has_work()) ++working;
    if (working == 0) {
        const auto sleeper = std::min_element(
            loops_.begin(), loops_.end(), [](const auto& left, const auto& right) {
                return left->next_deadline() < right->next_deadline();
            });
        return turn(static_cast<unsigned>(sleeper - loops_.begin()), true);
    }
    // The loops take turns, unless a seed decides: then the one so many places behind the next.
    std::size_t skipped = world_->choose(working);
    for (;;) {
        turned_last_ = (turned_last_ + 1) % size();
        if (!loops_[turned_last_]->has_work()) continue;
        if (skipped-- == 0) return turn(turned_last_, false);
    }
}

}}}  // namespace coro::v0::detail
