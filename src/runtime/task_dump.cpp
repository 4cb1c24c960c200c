// The task dump: every strand of a loop, where it waits, and whose child it is, as text.
#include <algorithm>
#include <string_view>
#include <utility>

#include <coro/core/cancel_scope.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/detail/this_strand.hpp>

#include "base/text_line.hpp"
#include "core/await_chain.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// The public function behind a coroutine of the library's own; empty for what is nobody's
/// business.
std::string_view public_name(std::string_view name) noexcept {
    static constexpr std::pair<std::string_view, std::string_view> internal[] = {
        {"group_coroutine", "with_task_group"},
        {"cancel_scope_coroutine", "with_cancel_scope"},
        {"cleanup_coroutine", "with_cleanup"},
        {"serve_coroutine", "serve"},
    };
    if (name.starts_with("v0::")) name.remove_prefix(4);
    if (!name.starts_with("detail::") && name.find('{') == std::string_view::npos) return name;
    for (const auto& [suffix, shown] : internal)
        if (name.ends_with(suffix)) return shown;
    return {};
}

class dump_writer {
public:
    dump_writer(text_sink& out, time_point now) noexcept : out_(out), now_(now) {}

    void write_strand(const detail::strand& strand, bool ready) {
        out_.write("#");
        write_number(strand.number);
        if (strand.name != nullptr) {
            out_.write(" ");
            out_.write(strand.name);
        }
        chain_position at = first_program_frame(strand);
        if (at.frame != nullptr) {
            out_.write(" ");
            write_site(at.frame->awaiting);
        }
        out_.write(" ");
        write_state(strand, ready);
        const time_point deadline = strand.scope->deadline();
        if (deadline != never) {
            out_.write(", deadline ");
            write_span(deadline > now_ ? deadline - now_ : duration::zero());
        }
        if (scope_access::cancelled(*strand.scope)) out_.write(", cancelled");
        while (at.frame != nullptr) {
            at = outer(at);
            if (at.frame != nullptr) write_caller(*at.frame);
        }
        out_.write("\n");
    }

private:
    void write_state(const detail::strand& strand, bool ready) noexcept {
        if (strand.waiting != nullptr) {
            strand.waiting->describe(out_);
            out_.write(" since ");
            write_span(now_ - strand.waiting_since);
        } else {
            out_.write(ready ? "ready" : "running");
        }
    }

    /// ` ← handle echo.cpp:31`; a frame of the library's own by its public name, without a site.
    void write_caller(const frame_link& frame) {
        const function_name_text text = function_name(frame.created.function_name());
        const std::string_view name = text.view();
        if (!name.starts_with("coro::")) {
            out_.write(" ← ");
            out_.write(name);
            out_.write(" ");
            write_site(frame.awaiting);
        } else if (const auto shown = public_name(name.substr(6));
                   !shown.empty()) {
            out_.write(" ← ");
            out_.write(shown);
        }
    }

    void write_site(const std::source_location& where) noexcept {
        text_line<256> text;
        text.add_site(where.file_name(), where.line());
        out_.write(text.view());
    }

    void write_number(std::uint64_t number) noexcept {
        text_line<24> digits;
        digits.add_number(number);
        out_.write(digits.view());
    }

    void write_span(duration span) noexcept {
        const auto nanoseconds = static_cast<std::uint64_t>(std::max(span.count(), clock::rep{0}));
        if (nanoseconds < 1'000'000) {
            write_number(nanoseconds / 1'000);
            out_.write(" us");
        } else if (nanoseconds < 10'000'000'000) {
            write_number(nanoseconds / 1'000'000);
            out_.write(" ms");
        } else {
            write_number(nanoseconds / 1'000'000'000);
            out_.write(" s");
        }
    }

    text_sink& out_;
    time_point now_;
};

/// The first strand below `root`, in the order of the dump, of which `is_it` says so, or nullptr.
template <typename Predicate>
const detail::strand* find_strand(cancel_scope& root, Predicate is_it) {
    for (cancel_scope* scope = &root; scope != nullptr;
         scope = scope_access::next_in_tree(*scope, root))
        for (detail::strand* strand = scope_access::first_strand(*scope); strand != nullptr;
             strand = scope_access::next_strand(*scope, *strand))
            if (is_it(*strand)) return strand;
    return nullptr;
}

}  // namespace

void scheduler::dump(text_sink& out) noexcept {
    dump_writer writer(out, turn_time);
    (void)find_strand(root_, [&](const detail::strand& strand) {
        writer.write_strand(strand, &strand != running);
        return false;
    });
}

void scheduler::dump_one(std::uint32_t number, text_sink& out) noexcept {
    const detail::strand* found =
        find_strand(root_, [&](const detail::strand& strand) { return strand.number == number; });
    if (found != nullptr) dump_writer(out, turn_time).write_strand(*found, found != running);
}

void scheduler::dump_chosen(line_choice& choice) noexcept {
    (void)find_strand(root_, [&](const detail::strand& strand) {
        if (text_sink* const out = choice.sink_for(strand.number))
            dump_writer(*out, turn_time).write_strand(strand, &strand != running);
        return false;
    });
}

void write_task_dump(text_sink& out) noexcept { scheduler_of(this_loop()).dump(out); }

void write_task_dump_of(std::uint32_t number, text_sink& out) noexcept {
    scheduler_of(this_loop()).dump_one(number, out);
}

}}}  // namespace coro::v0::detail
