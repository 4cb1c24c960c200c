// One timer for all streams that a guardian watches. Each list holds what is looked at one span
// after it was listed, the same span for all of it. So the front of a list is its next, and the
// next of all is one of a few fronts. The clock puts new ones at the back, and it never goes back.
#include <coro/net/guardian.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include <coro/base/detail/assert.hpp>
#include <coro/base/report.hpp>
#include <coro/net/detail/stream_access.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>

#include "net/idle_watch.hpp"
#include "net/io_failure.hpp"
#include "net/transport_table.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace net {
namespace {

using detail::idle_look;
using detail::scheduler_of;

/// How many are looked at in one go; the others follow in the next turn.
constexpr unsigned looks_per_turn = 256;
/// The part of rate_grace that passes before a transfer is counted. A message that is over by then
/// has cost no system call.
constexpr int uncounted_part = 8;
/// A span that is shorter needs no look at overflow, and nobody waits for longer.
constexpr duration longest_span = std::chrono::years(100);

constexpr guardian_limits silence_alone(duration idle) noexcept {
    constexpr duration none = duration::max();
    return {.first_byte = none, .header = none, .idle = idle, .total = none, .minimum_rate = 0,
            .rate_grace = none, .half_closed = none, .end_half_closed = false};
}

std::uint32_t whole_steps(duration of, duration step) noexcept {
    return static_cast<std::uint32_t>(
        std::clamp<duration::rep>(of / step, 0, std::numeric_limits<std::uint32_t>::max() - 2));
}

/// What a window of that length must bring: one byte at least.
std::uint64_t bytes_of(std::size_t rate, duration window) noexcept {
    constexpr double most = 1e18;
    const double seconds = std::chrono::duration<double>(window).count();
    const double bytes = std::ceil(static_cast<double>(rate) * seconds);
    return static_cast<std::uint64_t>(std::clamp(bytes, 1.0, most));
}

duration window_of(duration grace) noexcept {
    return std::max(grace - grace / uncounted_part, duration::zero());
}

}  // namespace

guardian::guardian(time_span idle, const char* verb) noexcept
    : guardian(silence_alone(idle), verb) {}

guardian::guardian(const guardian_limits& limits, const char* verb) noexcept
    : loop_(detail::this_loop()), limits_(limits), verb_(verb), timer_(*this) {
    constexpr duration none = duration::max();
    const auto at = [this](stage which) -> duration& {
        return spans_[static_cast<std::size_t>(which)];
    };
    spans_.fill(none);
    const duration idle = limits.idle;
    const duration total = std::max(duration(limits.total), duration::zero());
    const duration first = std::max(duration(limits.first_byte), duration::zero());
    const duration half_closed = limits.half_closed;
    const duration stepped = idle != none ? idle : total;
    duration step = stepped == none ? none : idle_look::step_of(stepped);
    // Not for each turn of the loop.
    const duration least = std::chrono::seconds(1);
    if (idle == none) step = std::min(step, std::max(half_closed, least));
    at(stage::step) = step;
    if (total != none) {
        last_steps_ = whole_steps(total, step);
        at(stage::last) = total - last_steps_ * step;
    }
    if (first < total) {
        first_steps_ = step == none ? 0 : whole_steps(first, step);
        at(stage::first) = step == none ? first : first - first_steps_ * step;
        if (step != none) at(stage::rest) = step - at(stage::first);
        // `total` may end before the step after `first` does.
        if (first_steps_ == last_steps_) at(stage::rest) = total - first;
    }
    if (half_closed != none && step != none)
        half_closed_looks_ =
            whole_steps(std::max(half_closed, duration(1)) - duration(1), step) + 1;
    const bool counted = limits.minimum_rate != 0;
    phases_[0].span = limits.header;
    phases_[1].span = counted && limits.rate_grace != none ? limits.rate_grace / uncounted_part
                                                           : none;
    phases_[2].span = window_of(limits.rate_grace);
    for (phases& each : phases_)
        if (each.span != none) each.span = std::clamp(each.span, duration::zero(), longest_span);
    idle_.span = idle;
    first_byte_.span = first;
    header_.span = limits.header;
    rate_.span = limits.rate_grace;
}

guardian::~guardian() {
    for (const auto& each : watches_)
        CORO_ASSERT(each.empty(), "a guardian was destroyed while it watched a stream");
    loop_.disarm_timer(timer_);
}

guardian::watch guardian::watch_over(const stream& which) noexcept {
    const detail::socket_ref& socket = detail::stream_access::ref(which);
    detail::check_home(socket);
    CORO_ASSERT(&loop_ == detail::current, "a guardian was used on another loop than its own");
    watch made(socket.handle, loop_.running == nullptr ? 0 : loop_.running->number);
    if (!socket.handle) return made;
    made.by_ = this;
    if (limits_.idle != duration::max() && !socket.handle.is_transport()) {
        if (detail::socket_notes* notes = scheduler_of(loop_).poller().notes(socket.handle)) {
            notes->idle = limits_.idle;
            notes->idle_verb = verb_;
            made.noted_ = true;
        }
    }
    made.since_ = loop_.read_clock();
    enter(made, next_stage(made), made.since_);
    arm_for(made.look_at_);
    return made;
}

// --- a watch, and the words of its handler

guardian::watch::watch(watch&& other) noexcept : look_(other.look_), task_(other.task_) {
    take(other);
}

guardian::watch& guardian::watch::operator=(watch&& other) noexcept {
    if (this == &other) return *this;
    unlink();
    forget();
    look_ = other.look_;
    task_ = other.task_;
    take(other);
    return *this;
}

void guardian::watch::belongs_to(std::uint32_t task_number) noexcept {
    task_ = task_number;
    if (!look_.socket || look_.socket.is_transport()) return;
    detail::socket_notes* notes = scheduler_of(*detail::current).poller().notes(look_.socket);
    if (notes != nullptr) notes->task = task_number;
}

void guardian::watch::take(watch& other) noexcept {
    since_ = other.since_;
    look_at_ = other.look_at_;
    by_ = std::exchange(other.by_, nullptr);
    words_ = std::exchange(other.words_, nullptr);
    if (words_ != nullptr) words_->of_ = this;
    stage_ = other.stage_;
    cause_ = other.cause_;
    noted_ = std::exchange(other.noted_, false);
    forgiven_ = other.forgiven_;
    told_ = other.told_;
    take_place_of(other);
}

/// A stream that moves from now on is watched by nobody. One that has moved, or closed, is not
/// here, and one that another guardian has taken over has another span.
void guardian::watch::forget() noexcept {
    if (words_ != nullptr) std::exchange(words_, nullptr)->of_ = nullptr;
    const guardian* by = std::exchange(by_, nullptr);
    if (!std::exchange(noted_, false) || detail::current == nullptr) return;
    detail::socket_notes* notes = scheduler_of(*detail::current).poller().notes(look_.socket);
    if (notes != nullptr && notes->idle == by->limits_.idle) notes->idle = duration::max();
}

guarded::guarded(guardian::watch& of) noexcept : of_(&of) {
    CORO_ASSERT(of.words_ == nullptr, "a watch of a guardian has two guarded objects at once");
    relink();
}

// --- looks

guardian::stage guardian::next_stage(const watch& which) const noexcept {
    const std::uint32_t steps = which.look_.looks();
    if (steps == first_steps_ && which.stage_ != stage::first && !which.look_.has_spoken())
        return stage::first;
    if (which.stage_ == stage::first) return stage::rest;
    return steps == last_steps_ ? stage::last : stage::step;
}

void guardian::enter(watch& which, stage next, time_point since) noexcept {
    const duration span = spans_[static_cast<std::size_t>(next)];
    which.stage_ = span == duration::max() ? stage::never : next;
    which.look_at_ = saturating_add(since, span);
    watches_[static_cast<std::size_t>(which.stage_)].push_back(which);
}

void guardian::arm_for(time_point when) noexcept {
    if (due_ <= when) return;
    loop_.disarm_timer(timer_);
    // Never for this turn: what is armed there in the past fires at once.
    due_ = std::max(when, saturating_add(loop_.turn_time, duration(1)));
    loop_.arm_timer(timer_, due_);
}

void guardian::arm_for_first() noexcept {
    time_point first = never;
    for (const auto& each : watches_)
        if (const watch* front = each.front()) first = std::min(first, front->look_at_);
    for (const phases& each : phases_)
        if (const detail::guard_phase* front = each.list.front())
            first = std::min(first, front->deadline_);
    arm_for(first);
}

void guardian::look() noexcept {
    for (forgiving* each : {&idle_, &first_byte_, &header_, &rate_})
        if (idle_look::stood_still(loop_.turn_time - due_, each->span))
            each->until = loop_.turn_time;
    due_ = never;
    unsigned looks = 0;
    // The shortest spans first.
    for (phases& each : phases_)
        for (; looks < looks_per_turn; ++looks) {
            detail::guard_phase* first = each.list.front();
            if (first == nullptr || first->deadline_ > loop_.turn_time) break;
            first->unlink();
            look_at(*first);
        }
    for (const stage which : {stage::first, stage::rest, stage::last, stage::step})
        for (; looks < looks_per_turn; ++looks) {
            watch* first = watches_[static_cast<std::size_t>(which)].front();
            if (first == nullptr || first->look_at_ > loop_.turn_time) break;
            first->unlink();
            look_at(*first);
        }
    arm_for_first();
}

/// The handler of a stream that is ended reads its end, as it does for any peer: no cancellation,
/// no scope per connection. One that is gone was closed by its handler, or has moved and is watched
/// where it is.
void guardian::look_at(watch& which) noexcept {
    const time_point listed = which.look_at_ - spans_[static_cast<std::size_t>(which.stage_)];
    const bool over = limits_.total != duration::max() &&
                      saturating_add(which.since_, limits_.total) <= loop_.turn_time;
    if (over || which.stage_ == stage::first) {
        std::uint64_t moved = 0;
        if (!which.look_.count(loop_, moved)) return enter(which, stage::never, listed);
        if (over) return end(which, end_cause::total);
        return look_for_first_byte(which, moved, listed);
    }
    const idle_look::finding found = which.look_.look(loop_, idle_.forgives(listed));
    if (found == idle_look::finding::gone) return enter(which, stage::never, listed);
    if (which.look_.silent_looks() >= half_closed_looks_ && !which.told_ &&
        which.look_.has_peer_ended(loop_)) {
        report_half_closed(which);
        if (limits_.end_half_closed) return end(which, end_cause::half_closed);
    }
    if (found == idle_look::finding::idle && limits_.idle != duration::max())
        return end(which, end_cause::idle);
    if (!which.look_.has_spoken() && first_byte_.forgives(listed)) forgive_first_byte(which);
    which.stage_ = stage::step;
    // Not the turn's time: the kernel's count was read now, and what it counts came before.
    enter(which, next_stage(which), loop_.read_clock());
}

void guardian::look_for_first_byte(watch& which, std::uint64_t moved, time_point listed) noexcept {
    if (moved != 0) return enter(which, next_stage(which), loop_.read_clock());
    if (which.forgiven_ || !first_byte_.forgives(listed)) return end(which, end_cause::first_byte);
    forgive_first_byte(which);
    which.stage_ = stage::step;
    enter(which, next_stage(which), loop_.read_clock());
}

/// Once.
void guardian::forgive_first_byte(watch& which) noexcept {
    if (which.forgiven_) return;
    which.forgiven_ = true;
    which.look_.count_looks_anew();
}

void guardian::end(watch& which, end_cause why) noexcept {
    which.look_.end_stream(loop_);
    which.cause_ = why;
    ++ended_[static_cast<std::size_t>(why)];
    enter(which, stage::never, loop_.turn_time);
}

/// Two passes: how many looks the most silent ones have in common, and then those.
std::size_t guardian::end_quietest(std::size_t at_most) noexcept {
    CORO_ASSERT(&loop_ == detail::current, "a guardian was used on another loop than its own");
    if (limits_.idle == duration::max()) return 0;
    const auto looks_of = [](const watch& which) {
        return std::min(which.look_.silent_looks(), std::uint32_t{idle_look::looks_in_span});
    };
    const auto each_in_stage = [this](auto call) {
        for (const stage each : {stage::step, stage::rest, stage::last}) {
            auto& list = watches_[static_cast<std::size_t>(each)];
            for (watch* at = list.front(); at != nullptr;) {
                watch& which = *at;
                at = list.next(which);
                call(which);
            }
        }
    };
    std::array<std::size_t, idle_look::looks_in_span + 1> silent{};
    each_in_stage([&](watch& which) { ++silent[looks_of(which)]; });
    std::uint32_t least = idle_look::looks_in_span;
    for (std::size_t found = silent[least]; found < at_most && least > 1; found += silent[least])
        --least;
    std::size_t ended = 0;
    for (std::uint32_t looks = idle_look::looks_in_span; looks >= least; --looks) {
        if (silent[looks] == 0) continue;
        each_in_stage([&](watch& which) {
            std::uint64_t moved = 0;
            if (ended >= at_most || looks_of(which) != looks ||
                !which.look_.count(loop_, moved) || which.look_.is_news(moved))
                return;
            which.unlink();
            end(which, end_cause::evicted);
            ++ended;
        });
    }
    return ended;
}

// --- parts of a conversation

/// Each message may come here twice: 60 instructions are the bar (docs/performance.md).
void guardian::begin(detail::guard_phase& which) noexcept {
    CORO_ASSERT(&loop_ == detail::current, "a guardian was used on another loop than its own");
    enter(which);
}

void guardian::enter(detail::guard_phase& which) noexcept {
    phases& of = phases_[static_cast<std::size_t>(which.part_)];
    if (of.span == duration::max()) return;
    which.deadline_ = loop_.turn_time + of.span;
    of.list.push_back(which);
    if (which.deadline_ < due_) [[unlikely]] arm_for(which.deadline_);
}

void guardian::look_at(detail::guard_phase& which) noexcept {
    using part = detail::guard_phase::part;
    watch& of = *which.of_;
    if (of.has_ended()) return;
    std::uint64_t moved = 0;
    if (!of.look_.count(loop_, moved)) return;  // closed, or on another loop
    const duration window = phases_[2].span;
    const auto end_of = [&](end_cause why) {
        of.unlink();
        end(of, why);
    };
    switch (which.part_) {
        case part::header:
            if (which.forgiven_ || !header_.forgives(which.deadline_ - limits_.header))
                return end_of(end_cause::header);
            which.forgiven_ = true;
            return enter(which);
        case part::transfer:
            which.part_ = part::counted;
            which.moved_ = moved;
            return enter(which);
        case part::counted:
            if (moved - which.moved_ >= bytes_of(limits_.minimum_rate, window))
                which.forgiven_ = false;
            else if (which.forgiven_ || !rate_.forgives(which.deadline_ - window))
                return end_of(end_cause::rate);
            else
                which.forgiven_ = true;
            which.moved_ = moved;
            return enter(which);
    }
}

// --- what is told

void guardian::report_end(std::string_view verb, std::string_view peer,
                          end_cause why) const noexcept {
    detail::end_sentence text;
    switch (why) {
        case end_cause::none: return;
        case end_cause::first_byte:
            text.add("no byte within ").add_span(limits_.first_byte);
            break;
        case end_cause::header:
            text.add("no complete header within ").add_span(limits_.header);
            break;
        case end_cause::idle: text.add("idle for ").add_span(limits_.idle); break;
        case end_cause::total: text.add("open for ").add_span(limits_.total); break;
        case end_cause::rate:
            text.add("slower than ").add_number(limits_.minimum_rate);
            text.add(" bytes a second for ").add_span(limits_.rate_grace);
            break;
        case end_cause::half_closed:
            text.add("closed by the peer and not read for ").add_span(limits_.half_closed);
            break;
        case end_cause::evicted:
            text.add("silent for longest when descriptors or memory ran out");
            break;
    }
    detail::report_end(verb, text.add(", ended"), peer);
}

/// One sentence, where the task of `which` waits, and its peer.
void guardian::report_place(const watch& which, severity level, std::string_view verb,
                            std::string_view why, bool with_place) const noexcept {
    std::array<char, detail::name_capacity> buffer;
    const std::string_view peer = detail::peer_text({&loop_, which.look_.socket}, buffer);
    const auto tell = [&](std::string_view text) {
        report({.level = level, .verb = verb, .endpoint = peer, .error = {}, .text = text,
                .task = {}});
    };
    try {
        const std::string where = with_place ? dump_task(which.task_) : std::string();
        tell(std::string(why) + (where.empty() ? "" : ": ") + where);
    } catch (...) {
        tell(why);  // without memory
    }
}

void guardian::report_half_closed(watch& which) noexcept {
    which.told_ = true;
    // To find where a task waits is a walk over all of them, and peers could ask for many.
    const bool with_place = loop_.turn_time >= place_after_;
    if (with_place) place_after_ = saturating_add(loop_.turn_time, std::chrono::seconds(1));
    report_place(which, severity::warning, verb_ == nullptr ? "guardian" : verb_,
                 "the peer has closed, and its handler does not read", with_place);
}

std::size_t guardian::report_watched(std::string_view verb, std::string_view why,
                                     std::size_t at_most) const noexcept {
    CORO_ASSERT(&loop_ == detail::current, "a guardian was used on another loop than its own");
    std::size_t found = 0;
    for (const auto& list : watches_)
        for (watch* at = list.front(); at != nullptr; at = list.next(*at))
            if (found++ < at_most) report_place(*at, severity::notice, verb, why, true);
    return found;
}

}}}  // namespace coro::v0::net
