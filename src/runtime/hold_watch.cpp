// Noticing that a loop stood, and telling in which task.
#include "runtime/hold_watch.hpp"

#include <string_view>
#include <utility>

#include <coro/base/report.hpp>
#include <coro/core/cancel_scope.hpp>

#include "base/text_line.hpp"
#include "core/await_chain.hpp"
#include "runtime/span_text.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

using hold_text = text_line<512>;

/// ` balancer.cpp:40`, or nothing of a frame that has not awaited yet.
bool add_site(hold_text& text, std::string_view word, const std::source_location& where) noexcept {
    if (where.line() == 0) return false;
    text.add(word).add_site(where.file_name(), where.line());
    return true;
}

}  // namespace

void hold_watch::posts_ran(std::size_t count, std::uint64_t of_program) noexcept {
    told_ = false;
    segment_began_ = loop_.turn_time;
    if (count == 0) return;
    segment_began_ = poller_.now();
    const duration stood = segment_began_ - loop_.turn_time;
    if (stood < limit_) return;
    if (of_program != 0) tell(stood, {}, "a call that was posted to it (loop_handle::post)");
    else
        report_hold(stood, {}, "its part of a dump (dump_all_loops)",
                    "a line for each task takes time, so ask for it rarely");
}

void hold_watch::turn_ran(std::uint64_t resumed, const detail::strand* only) noexcept {
    const time_point now = poller_.now();
    const duration stood = now - segment_began_;
    if (stood >= limit_) {
        measure_until_ = saturating_add(now, measured_for);
        if (!told_ && resumed == 1 && only != nullptr) {
            resumption who = look_at(*only);
            const std::source_location now_at = who.from;
            who.from = {};
            tell(stood, who, &now_at);
        } else if (!told_) {
            hold_text in;
            in.add("one of ").add_number(resumed).add(" tasks that it resumed");
            in.add("; for a minute each is measured, and the next one is named");
            tell(stood, {}, in.view());
        }
        measure(true);
    } else if (own_.user != nullptr && now >= measure_until_) {
        measure(false);
    }
}

hold_watch::resumption hold_watch::look_at(const detail::strand& strand) noexcept {
    resumption seen{.strand = &strand, .name = strand.name, .created = {}, .from = {}, .began = {}};
    const chain_position at = first_program_frame(strand);
    if (at.frame == nullptr) return seen;
    seen.created = at.frame->created;
    seen.from = at.frame->awaiting;
    return seen;
}

/// The hooks of the loop are the one place that sees each resumption, and cost nothing while there
/// are none.
void hold_watch::measure(bool on) noexcept {
    if (!on) {
        own_ = {};
        running_ = {};
        loop_.hooks = users_;
        return;
    }
    own_.user = this;
    own_.spawned = [](detail::strand& strand, void* self) noexcept {
        const task_hooks* users = static_cast<hold_watch*>(self)->users_;
        if (users != nullptr && users->spawned != nullptr) users->spawned(strand, users->user);
    };
    own_.resumed = [](detail::strand& strand, void* self) noexcept {
        const task_hooks* users = static_cast<hold_watch*>(self)->users_;
        if (users != nullptr && users->resumed != nullptr) users->resumed(strand, users->user);
        static_cast<hold_watch*>(self)->begin(strand);
    };
    own_.suspended = [](detail::strand& strand, void* self) noexcept {
        static_cast<hold_watch*>(self)->end(strand, false);
        const task_hooks* users = static_cast<hold_watch*>(self)->users_;
        if (users != nullptr && users->suspended != nullptr)
            users->suspended(strand, users->user);
    };
    own_.ended = [](detail::strand& strand, void* self) noexcept {
        static_cast<hold_watch*>(self)->end(strand, true);
        const task_hooks* users = static_cast<hold_watch*>(self)->users_;
        if (users != nullptr && users->ended != nullptr) users->ended(strand, users->user);
    };
    loop_.hooks = &own_;
}

void hold_watch::begin(detail::strand& strand) noexcept {
    running_ = look_at(strand);
    running_.began = poller_.now();
}

void hold_watch::end(const detail::strand& strand, bool has_ended) noexcept {
    if (running_.strand != &strand) return;
    const resumption who = std::exchange(running_, {});
    const duration stood = poller_.now() - who.began;
    if (stood < limit_) return;
    if (has_ended) return tell(stood, who, nullptr);
    const std::source_location now_at = look_at(strand).from;
    tell(stood, who, &now_at);
}

/// `now_at`: where the task waits since then; nullptr: it has ended.
void hold_watch::tell(duration stood, const resumption& who,
                      const std::source_location* now_at) noexcept {
    const function_name_text function = function_name(who.created.function_name());
    const std::string_view task =
        who.name != nullptr ? std::string_view(who.name)
                            : (function.view().empty() ? "a task" : function.view());
    hold_text in;
    in.add(task.substr(0, 200));
    if (now_at == nullptr) {
        if (!add_site(in, ", between ", who.from)) in.add(", between its beginning");
        in.add(" and its end");
    } else if (add_site(in, ", between ", who.from)) {
        add_site(in, " and ", *now_at);
    } else {
        add_site(in, ", before ", *now_at);
    }
    tell(stood, task, in.view());
}

void hold_watch::tell(duration stood, std::string_view task, std::string_view in) noexcept {
    report_hold(stood, task, in, "what blocks or computes for long belongs in coro::blocking");
}

void hold_watch::report_hold(duration stood, std::string_view task, std::string_view in,
                             std::string_view advice) noexcept {
    told_ = true;
    hold_text text;
    text.add("the loop stood ");
    add_span(text, stood);
    text.add(" in ").add(in).add(": ").add(advice);
    report({.level = severity::warning, .verb = "run", .endpoint = {}, .error = {},
            .text = text.view(), .task = task});
}

}}}  // namespace coro::v0::detail
