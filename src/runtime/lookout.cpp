// What the lookout does: it sleeps on a bell, and looks at the pulses of the loops.
#include "runtime/lookout.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/base/report.hpp>

#include "base/stderr_text.hpp"
#include "base/text_line.hpp"
#include "runtime/process.hpp"
#include "runtime/scheduler.hpp"
#include "runtime/span_text.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Nobody is watched more closely than this.
constexpr duration shortest_span = std::chrono::milliseconds(4);
constexpr int looks_in_a_span = 4;
/// On a busy machine a thread wakes so much later than it wanted to, without any mishap.
constexpr duration usual_delay = std::chrono::milliseconds(10);

duration span_of(const run_options& options) noexcept {
    return std::max<duration>(options.watchdog, shortest_span);
}

/// In whole milliseconds: a bell does not wake its waiter earlier.
duration tick_of(duration span) noexcept {
    if (span == duration::max()) return span;
    return std::chrono::floor<std::chrono::milliseconds>(span / looks_in_a_span);
}

/// How a stranger finds the signal: the thread is named after it.
std::string name_of_thread(int signal) {
    return signal != 0 ? "coro-dump-" + std::to_string(signal) : "coro-watch";
}

using span_line = text_line<64>;

std::string text_of(duration span) {
    span_line line;
    add_span(line, span);
    return std::string(line.view());
}

/// ` and stands in task #17 "health", after its await at balancer.cpp:38`
std::string place_of(const thread_picture& seen) {
    if (seen.task == 0) return " and stands in a posted call, or in the library";
    std::string text = " and stands in task #" + std::to_string(seen.task);
    if (seen.name[0] != '\0') text.append(" \"").append(seen.name.data()).append("\"");
    if (seen.awaited.line() == 0) return text + ", before its first await";
    text_line<256> site;
    site.add(", after its await at ").add_site(seen.awaited.file_name(), seen.awaited.line());
    return text.append(site.view());
}

}  // namespace

std::unique_ptr<lookout> lookout::begin(const run_options& options, world& in, std::uint64_t run) {
    if (options.dump_signal == 0 && options.watchdog == duration::max()) return nullptr;
    try {
        return std::unique_ptr<lookout>(new lookout(options, in, run));
    } catch (const io_error&) {
        throw;  // a system_error too, which says itself what is wrong
    } catch (const std::system_error& refused) {
        throw io_error(refused.code(), "run",
                       error_text("cannot begin: the thread that dumps and watches could not be "
                                  "started: raise the limits of threads and of open files "
                                  "(ulimit -u, ulimit -n), or leave out dump_signal and watchdog"));
    }
}

lookout::lookout(const run_options& options, world& in, std::uint64_t run)
    : world_(in),
      run_(run),
      span_(span_of(options)),
      tick_(tick_of(span_)),
      signal_(options.dump_signal, options.signals == signal_policy::leave, bell_) {
    if (span_ != duration::max()) probe_.emplace();
    watched_.resize(options.loops);
    const std::string name = name_of_thread(options.dump_signal);
    thread_ = world_.start_thread(name.c_str(), [this] { keep_watch(); });
}

lookout::~lookout() {
    ending_.store(true);
    bell_.ring();
    thread_.join();
}

void lookout::keep_watch() noexcept {
    signal_.let_it_come();
    while (!ending_.load()) {
        answer_signal();
        const time_point due = saturating_add(world_.now(), tick_);
        bell_.wait(tick_);
        if (span_ == duration::max()) continue;
        // Who wakes so late has not run, and then the loops may not have run either. The time is
        // counted anew, and a report says so.
        const time_point now = world_.now();
        const bool was_away = now - due > std::max(tick_, usual_delay);
        if (was_away) trusted_from_ = now;
        look_at_loops({.from = was_away ? due : now, .until = now});
    }
    answer_signal();
}

void lookout::answer_signal() const noexcept try {
    const int number = signal_.number != 0 ? dump_signal::take() : 0;
    if (number == 0) return;
    write_to_stderr("coro: " + name_of_signal(number) + ": all tasks of process " +
                        std::to_string(this_process_id()) + "\n" + dump_all_loops(),
                    ending_);
} catch (const std::exception&) {
    write_to_stderr("coro: no memory for the dump that a signal asks for\n", ending_);
}

void lookout::look_at_loops(absence away) noexcept try {
    for (const loop_view& each : loop_witness::loops_of(run_)) {
        if (!each.seen.turns()) continue;
        watched& known = watched_[each.name.id.index()];
        if (std::exchange(known.beat, each.seen.beat) != each.seen.beat) known.lost = {};
        known.lost += std::max(away.until - std::max(away.from, each.seen.turn_began),
                               duration::zero());
        const time_point now = world_.now();
        if (now - std::max(each.seen.turn_began, trusted_from_) < span_) continue;
        if (std::exchange(known.reported, each.seen.beat) == each.seen.beat) continue;
        report_hold(each, now - each.seen.turn_began, known.lost);
    }
} catch (const std::bad_alloc&) {
    // The next look may have memory.
}

void lookout::report_hold(const loop_view& which, duration stood, duration lost) noexcept try {
    const thread_picture seen =
        thread_probe::ask(*which.loop, which.seen.beat, which.name.thread, bell_, world_);
    std::string text = which.name.text() + " has not turned for " + text_of(stood);
    std::string_view task;
    switch (seen.kind) {
        case thread_picture::answer::none:
            text += "; it last resumed task #" + std::to_string(which.seen.resumed) +
                    ", and its thread did not answer SIGURG within a second, so its stack is not "
                    "known";
            break;
        case thread_picture::answer::not_asked:
            text += "; it last resumed task #" + std::to_string(which.seen.resumed) +
                    ", and SIGURG could not be sent to its thread, so its stack is not known";
            break;
        case thread_picture::answer::went_on:
            text += "; it last resumed task #" + std::to_string(which.seen.resumed) +
                    ", and went on when it was asked";
            break;
        case thread_picture::answer::stands:
            text += place_of(seen);
            task = seen.name.data();
            break;
    }
    if (lost != duration::zero())
        text += "; the process was stopped, or got no processor, for " + text_of(lost) + " of it";
    if (seen.count != 0) text += "; its stack: " + seen.stack();
    report({.level = severity::warning, .verb = "run", .endpoint = {}, .error = {}, .text = text,
            .task = task});
} catch (const std::bad_alloc&) {
    report({.level = severity::warning, .verb = "run", .endpoint = {}, .error = {},
            .text = "a loop has not turned for the span of the watchdog, and there is no memory to "
                    "say more",
            .task = {}});
}

}}}  // namespace coro::v0::detail
