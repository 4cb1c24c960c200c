// dump_all_loops(): each loop of the process writes its part, and one that does not is named.
//
// A loop that asks writes its own part first, and lets others have that while it waits. So loops
// that ask each other do not wait for each other.
#include "runtime/loop_witness.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include <pthread.h>

#include <coro/runtime/run.hpp>

#include "base/text_line.hpp"
#include "runtime/loop_team.hpp"
#include "runtime/process.hpp"
#include "runtime/scheduler.hpp"
#include "runtime/span_text.hpp"
#include "runtime/world.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

struct witness_list {
    std::mutex guard;
    std::condition_variable answers;
    intrusive_list<loop_witness> all;
};

/// Never destroyed: a program may end by exit(3) while another thread runs loops.
witness_list& witnesses() noexcept {
    union immortal {
        immortal() noexcept : list() {}
        ~immortal() {}
        witness_list list;
    };
    static immortal one;
    return one.list;
}

/// A child of fork(2) has no loop of its parent. The lock is held across the fork, and the waiters
/// of the condition are threads that the child does not have.
[[maybe_unused]] const int witnesses_watch_fork = ::pthread_atfork(
    [] { witnesses().guard.lock(); }, [] { witnesses().guard.unlock(); },
    [] {
        witness_list& own = witnesses();
        ::new (&own.answers) std::condition_variable;
        while (own.all.pop_front() != nullptr) {
        }
        own.guard.unlock();
    });

/// One counter of a line: `, sleeps 3`.
void add_count(text_line<1024>& line, std::string_view name, std::uint64_t count) noexcept {
    line.add(", ").add(name).add(" ").add_number(count);
}

std::string line_of(const loop_stats& stats) {
    text_line<1024> line;
    line.add("counters: turns ").add_number(stats.turns);
    add_count(line, "resumed", stats.resumed);
    add_count(line, "sleeps", stats.sleeps);
    add_count(line, "spins", stats.spins);
    add_count(line, "spin hits", stats.spin_hits);
    add_count(line, "timers fired", stats.timers_fired);
    add_count(line, "timers armed", stats.timers_armed);
    add_count(line, "posts", stats.posts);
    add_count(line, "posts put off", stats.posts_put_off);
    add_count(line, "operations submitted", stats.operations_submitted);
    add_count(line, "operations completed", stats.operations_completed);
    add_count(line, "receive calls", stats.receive_calls);
    add_count(line, "send calls", stats.send_calls);
    add_count(line, "would block", stats.would_block);
    add_count(line, "wait calls", stats.wait_calls);
    add_count(line, "enter calls", stats.enter_calls);
    add_count(line, "control calls", stats.control_calls);
    add_count(line, "queue overflows", stats.queue_overflows);
    add_count(line, "buffers exhausted", stats.buffers_exhausted);
    line.add(", frames ");
    if (stats.frames < 0) line.add("-");
    line.add_number(static_cast<std::uint64_t>(stats.frames < 0 ? -stats.frames : stats.frames));
    add_count(line, "operations", stats.operations);
    add_count(line, "sockets", stats.sockets);
    add_count(line, "leases", stats.leases);
    line.add("\n");
    return std::string(line.view());
}

}  // namespace

loop_witness::loop_witness(scheduler& of) noexcept
    : gate_(of.gate()),
      name_{.id = of.id,
            .loops = of.team->size(),
            .thread = of.team->world().is_virtual() ? 0 : this_thread_id()},
      loop_(&of) {
    run = &arrive;
}

void loop_witness::appear() noexcept {
    witness_list& list = witnesses();
    const std::lock_guard lock(list.guard);
    list.all.push_back(*this);
}

void loop_witness::disappear() noexcept {
    witness_list& list = witnesses();
    const std::lock_guard lock(list.guard);
    unlink();
    loop_ = nullptr;
    list.answers.notify_all();
}

/// The words without memory are short enough for the string itself.
std::string loop_witness::part_of(scheduler& loop) noexcept try {
    string_sink tasks;
    loop.dump(tasks);
    const loop_stats stats = loop.stats();
    text_line<256> line;
    line.add(", ").add(stats.poller).add(": ");
    const auto count = std::count(tasks.content.begin(), tasks.content.end(), '\n');
    line.add_number(static_cast<std::uint64_t>(count)).add(count == 1 ? " task\n" : " tasks\n");
    return std::string(line.view()) + tasks.content + line_of(stats);
} catch (const std::bad_alloc&) {
    return " has no memory\n";
}

std::string loop_name::text() const {
    text_line<128> line;
    line.add("loop ").add_number(id.index()).add(" of ").add_number(loops);
    line.add(", run ").add_number(id.run());
    if (thread != 0) line.add(", thread ").add_number(static_cast<std::uint64_t>(thread));
    return std::string(line.view());
}

std::vector<loop_view> loop_witness::loops_of(std::uint64_t run) {
    std::vector<loop_view> found;
    witness_list& list = witnesses();
    const std::lock_guard lock(list.guard);
    for (loop_witness* each = list.all.front(); each != nullptr; each = list.all.next(*each))
        if (each->name_.id.run() == run)
            found.push_back(
                {.name = each->name_, .loop = each->loop_, .seen = each->loop_->pulse.look()});
    return found;
}

std::string loop_witness::text_without_answer() const {
    text_line<256> line;
    if (loop_ == nullptr) {
        line.add(" has ended\n");
        return std::string(line.view());
    }
    const loop_pulse::seen seen = loop_->pulse.look();
    world& world = loop_->team->world();
    if (seen.beat == 0) {
        line.add(" has not turned yet");
    } else if (!seen.turns()) {
        line.add(" sleeps in its poller and did not answer in time");
    } else if (world.is_virtual()) {
        line.add(" stands in turn ").add_number(seen.turn());
    } else {
        line.add(" has not turned for ");
        add_span(line, world.now() - seen.turn_began);
    }
    if (seen.resumed != 0) line.add("; it last resumed task #").add_number(seen.resumed);
    line.add("\n");
    return std::string(line.view());
}

/// Answers the question, and those that came before now. What comes meanwhile is answered in the
/// next turn, so that those who ask all the time do not hold the loop.
void loop_witness::arrive(posted& self) noexcept {
    auto& mine = static_cast<loop_witness&>(self);
    scheduler& loop = scheduler_of(*current);
    loop.forget_a_post();
    witness_list& list = witnesses();
    std::unique_lock lock(list.guard);
    const std::uint64_t question = mine.asked_;
    if (mine.askers_ != 0) {
        lock.unlock();
        std::string text = part_of(loop);
        lock.lock();
        if (mine.askers_ != 0) mine.text_.swap(text);
    }
    mine.answered_ = question;
    // A loop that has left the list takes no post any more, and who asks it does not wait for it.
    mine.under_way_ = mine.asked_ != question && mine.loop_ != nullptr;
    const bool goes_again = mine.under_way_;
    list.answers.notify_all();
    lock.unlock();
    if (goes_again) loop.post(mine);
}

/// One call of dump_all_loops().
class loop_inquiry {
public:
    loop_inquiry() : list_(witnesses()) {}
    loop_inquiry(const loop_inquiry&) = delete;
    loop_inquiry& operator=(const loop_inquiry&) = delete;
    ~loop_inquiry() {
        const std::lock_guard lock(list_.guard);
        for (const question& each : asked_) {
            if (each.is_mine) each.to->waits_for_others_ = false;
            if (--each.to->askers_ == 0) std::string().swap(each.to->text_);
        }
    }

    std::string ask(duration within) {
        collect();
        write_mine();
        post_questions();
        constexpr duration for_ever = std::chrono::hours(24 * 365);
        std::unique_lock lock(list_.guard);
        list_.answers.wait_for(lock, std::clamp(within, duration::zero(), for_ever),
                               [this] { return all_answered(); });
        std::string all;
        for (const question& each : asked_) {
            all += each.to->name_.text();
            all += is_answered(each) ? each.to->text_ : each.to->text_without_answer();
        }
        return all;
    }

private:
    struct question {
        std::shared_ptr<loop_witness> to;
        scheduler* mine = nullptr;  ///< of this thread: written in place
        bool is_mine = false;
        std::uint64_t number = 0;
    };

    static bool is_answered(const question& each) noexcept {
        return each.to->answered_ >= each.number;
    }
    [[nodiscard]] bool all_answered() const noexcept {
        return std::all_of(asked_.begin(), asked_.end(), [](const question& each) {
            return is_answered(each) || each.to->loop_ == nullptr;
        });
    }

    void collect() {
        const std::lock_guard lock(list_.guard);
        for (auto* each = list_.all.front(); each != nullptr; each = list_.all.next(*each)) {
            asked_.push_back({.to = each->shared_from_this()});
            ++each->askers_;
        }
        std::sort(asked_.begin(), asked_.end(), [](const question& left, const question& right) {
            return left.to->name_.id.word < right.to->name_.id.word;
        });
        for (question& each : asked_) {
            loop_team* const team = current != nullptr ? current->team : nullptr;
            each.is_mine = each.to->loop_ == current ||
                           (team != nullptr && team->is_stepped() &&
                            each.to->name_.id.run() == current->id.run());
            if (each.is_mine) each.mine = const_cast<scheduler*>(each.to->loop_);
        }
    }

    /// A loop of this thread stands where it is until the end: what is written now stays true.
    void write_mine() {
        for (question& each : asked_) {
            if (!each.is_mine) continue;
            std::string text;
            {
                const loop_entry as_its(each.mine);
                text = loop_witness::part_of(*each.mine);
            }
            const std::lock_guard lock(list_.guard);
            each.to->text_ = std::move(text);
            each.to->waits_for_others_ = true;
            each.to->answered_ = each.to->asked_;
            each.number = each.to->answered_;
            list_.answers.notify_all();
        }
    }

    void post_questions() {
        for (question& each : asked_) {
            if (each.is_mine) continue;
            bool is_sent = true;
            {
                const std::lock_guard lock(list_.guard);
                if (each.to->waits_for_others_) {
                    each.number = each.to->answered_;
                    continue;
                }
                each.number = ++each.to->asked_;
                is_sent = std::exchange(each.to->under_way_, true);
            }
            if (is_sent || each.to->gate_->post(*each.to)) continue;
            const std::lock_guard lock(list_.guard);
            each.to->under_way_ = false;
        }
    }

    witness_list& list_;
    std::vector<question> asked_;
};

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 {

std::string dump_all_loops(time_span answer_within) {
    return detail::loop_inquiry().ask(answer_within);
}

}}  // namespace coro::v0
