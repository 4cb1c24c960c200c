// The chain of frames, read from the strands and their scopes; names of functions, from signatures.
#include "core/await_chain.hpp"

#include <coro/core/cancel_scope.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// The place holder of a parameter list in a flattened signature.
constexpr std::string_view parameters = "\1";

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
function_name_text flatten(std::string_view text) noexcept {
    function_name_text flat;
    text = text.substr(0, text.find(" ["));  // [with T = int] of g++, [T = int] of clang
    std::size_t at = 0;
    while (at < text.size()) {
        if (text.substr(at).starts_with("<lambda")) {
            at = after_group(text, at);
            flat.add("<lambda>");
        } else if (skip(text, at, "(anonymous class)::operator()")) {
            flat.add("<lambda>");
            at = after_group(text, at);
        } else if (skip(text, at, "(anonymous namespace)") || skip(text, at, "{anonymous}")) {
            flat.add("{anonymous}");
        } else if (at_operator(text, at)) {
            flat.add("operator");
            at += 8;
            if (skip(text, at, "()")) flat.add("+");  // see function_name()
            while (at < text.size() && (text[at] == '<' || text[at] == '>' || text[at] == '='))
                flat.add(text.substr(at++, 1));  // no brackets
        } else if (text[at] == '(') {
            at = after_group(text, at);
            flat.add(parameters);
        } else if (text[at] == '<') {
            at = after_group(text, at);
        } else {
            flat.add(text.substr(at++, 1));
        }
    }
    return flat;
}

}  // namespace

function_name_text function_name(std::string_view signature) noexcept {
    function_name_text flat = flatten(signature);
    const std::size_t last = flat.view().rfind(parameters);
    if (last != std::string_view::npos && flat.view().find("::", last) == std::string_view::npos)
        flat.keep_first(last);
    if (flat.view().ends_with(" const")) flat.keep_first(flat.size() - 6);
    flat.drop_first(flat.view().rfind(' ') + 1);
    flat.drop_all_of(parameters.front());
    if (flat.view().ends_with("operator+")) {
        flat.keep_first(flat.size() - 1);
        flat.add("()");
    }
    return flat;
}

namespace {

/// The frame that opened the innermost scope which `strand` did not open itself: that of
/// with_task_group, or the one that awaits a when_any.
chain_position opener_of(const detail::strand& strand) noexcept {
    const detail::strand* inner = &strand;
    for (const cancel_scope* scope = strand.scope; scope != nullptr;
         scope = scope_access::parent(*scope)) {
        const detail::strand* owner = scope_access::owner(*scope);
        if (owner == nullptr) break;
        if (owner == inner) continue;
        if (scope_access::opener(*scope) != nullptr)
            return {owner, scope_access::opener(*scope)};
        inner = owner;  // a branch of a branch, without a frame
    }
    return {nullptr, nullptr};
}

}  // namespace

chain_position first_frame(const detail::strand& strand) noexcept {
    if (strand.leaf != nullptr) return {&strand, strand.leaf};
    return opener_of(strand);
}

chain_position outer(chain_position at) noexcept {
    if (at.frame->parent != nullptr) return {at.strand, at.frame->parent};
    return opener_of(*at.strand);
}

bool is_library_frame(const frame_link& frame) noexcept {
    return function_name(frame.created.function_name()).view().starts_with("coro::");
}

}}}  // namespace coro::v0::detail
