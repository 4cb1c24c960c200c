// The task dump: every strand of a loop, where it waits, and whose child it is, as text.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <coro/core/cancel_scope.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>

#include "base/site.hpp"
#include "runtime/scheduler.hpp"

namespace coro::inline v0::detail {
namespace {

/// What stands for a parameter list in a flattened signature.
constexpr char parameters = '\1';

/// Past the bracket that closes the one at `open`.
std::size_t after_group(std::string_view text, std::size_t open) noexcept {
    int depth = 0;
    for (std::size_t at = open; at < text.size(); ++at) {
        const char c = text[at];
        if (c == '(' || c == '<') ++depth;
        if ((c == ')' || c == '>') && --depth == 0) return at + 1;
    }
    return text.size();
}

bool skip(std::string_view text, std::size_t& at, std::string_view what) noexcept {
    if (!text.substr(at).starts_with(what)) return false;
    at += what.size();
    return true;
}

/// `operator` as a word of its own, not the end of a longer name.
bool at_operator(std::string_view text, std::size_t at) noexcept {
    return text.substr(at).starts_with("operator") &&
           (at == 0 || text[at - 1] == ':' || text[at - 1] == ' ');
}

/// The signature without template arguments and with parameter lists as one character.
/// g++: `main_()::<lambda(int)>`; clang: `auto main_()::(anonymous class)::operator()(int) const`.
std::string flatten(std::string_view text) {
    std::string flat;
    text = text.substr(0, text.find(" ["));  // [with T = int] of g++, [T = int] of clang
    std::size_t at = 0;
    while (at < text.size()) {
        if (text.substr(at).starts_with("<lambda")) {
            at = after_group(text, at);
            flat += "<lambda>";
        } else if (skip(text, at, "(anonymous class)::operator()")) {
            flat += "<lambda>";
            at = after_group(text, at);
        } else if (skip(text, at, "(anonymous namespace)") || skip(text, at, "{anonymous}")) {
            flat += "{anonymous}";
        } else if (at_operator(text, at)) {
            flat += "operator";
            at += 8;
            if (skip(text, at, "()")) flat += '+';  // see function_name()
            while (at < text.size() && (text[at] == '<' || text[at] == '>' || text[at] == '='))
                flat += text[at++];  // no brackets
        } else if (text[at] == '(') {
            at = after_group(text, at);
            flat += parameters;
        } else if (text[at] == '<') {
            at = after_group(text, at);
        } else {
            flat += text[at++];
        }
    }
    return flat;
}

/// `coro::task<> app::handle(int)` -> `app::handle`, `main_()::<lambda(int)>` -> `main_::<lambda>`;
/// the same from both compilers, which write the whole signature, each in its own way.
std::string function_name(std::string_view signature) {
    std::string flat = flatten(signature);
    const std::size_t last = flat.rfind(parameters);
    if (last != std::string::npos && flat.find("::", last) == std::string::npos) flat.resize(last);
    if (flat.ends_with(" const")) flat.resize(flat.size() - 6);
    flat.erase(0, flat.rfind(' ') + 1);
    std::erase(flat, parameters);
    if (flat.ends_with("operator+")) flat.replace(flat.size() - 1, 1, "()");
    return flat;
}

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

    void write_strand(const context& strand, bool ready) {
        out_.write("#");
        write_number(strand.number);
        if (strand.name != nullptr) {
            out_.write(" ");
            out_.write(strand.name);
        }
        chain_position at = first_frame(strand);
        while (at.frame != nullptr && library_frame(*at.frame)) at = outer(at);
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
        if (strand.scope->is_cancelled()) out_.write(", cancelled");
        while (at.frame != nullptr) {
            at = outer(at);
            if (at.frame != nullptr) write_caller(*at.frame);
        }
        out_.write("\n");
    }

private:
    void write_state(const context& strand, bool ready) noexcept {
        if (strand.waiting != nullptr) {
            strand.waiting->describe(out_);
            out_.write(" since ");
            write_span(now_ - strand.waiting_since);
        } else {
            out_.write(ready ? "ready" : "running");
        }
    }

    struct chain_position {
        const context* strand;
        const frame_link* frame;
    };

    /// The innermost frame; for a branch without one, the frame that awaits the branches.
    static chain_position first_frame(const context& strand) noexcept {
        if (strand.leaf != nullptr) return {&strand, strand.leaf};
        return opener_of(strand);
    }
    static chain_position outer(chain_position at) noexcept {
        if (at.frame->parent != nullptr) return {at.strand, at.frame->parent};
        return opener_of(*at.strand);
    }
    /// The frame that opened the innermost scope which `strand` did not open itself: that of
    /// with_task_group, or the one that awaits a when_any.
    static chain_position opener_of(const context& strand) noexcept {
        const context* inner = &strand;
        for (const cancel_scope* scope = strand.scope; scope != nullptr;
             scope = scope_access::parent(*scope)) {
            const context* owner = scope_access::owner(*scope);
            if (owner == nullptr) break;
            if (owner == inner) continue;
            if (scope_access::opener(*scope) != nullptr)
                return {owner, scope_access::opener(*scope)};
            inner = owner;  // a branch of a branch, without a frame
        }
        return {nullptr, nullptr};
    }

    static bool library_frame(const frame_link& frame) {
        return function_name(frame.created.function_name()).starts_with("coro::");
    }

    /// ` ← handle echo.cpp:31`; a frame of the library's own by its public name, without a site.
    void write_caller(const frame_link& frame) {
        const std::string name = function_name(frame.created.function_name());
        if (!name.starts_with("coro::")) {
            out_.write(" ← ");
            out_.write(name);
            out_.write(" ");
            write_site(frame.awaiting);
        } else if (const auto shown = public_name(std::string_view(name).substr(6));
                   !shown.empty()) {
            out_.write(" ← ");
            out_.write(shown);
        }
    }

    void write_site(const std::source_location& where) noexcept {
        out_.write(base_name(where.file_name()));
        out_.write(":");
        write_number(where.line());
    }

    void write_number(std::uint64_t number) noexcept {
        std::array<char, 24> digits{};
        const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
        out_.write({digits.data(), static_cast<std::size_t>(end - digits.data())});
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

}  // namespace

void scheduler::dump(text_sink& out) noexcept {
    dump_writer writer(out, turn_time);
    for (cancel_scope* scope = &root_; scope != nullptr;
         scope = scope_access::next_in_tree(*scope, root_))
        for (context* strand = scope_access::first_strand(*scope); strand != nullptr;
             strand = scope_access::next_strand(*scope, *strand))
            writer.write_strand(*strand, strand != running);
}

void write_task_dump(text_sink& out) noexcept { scheduler_of(this_loop()).dump(out); }

}  // namespace coro::inline v0::detail
