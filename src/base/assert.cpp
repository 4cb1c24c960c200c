// Ends the program with one sentence; uses nothing that could fail or allocate.
#include <coro/base/detail/assert.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "base/misuse_place.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// The words while no loop was ever made: then there is no task.
void write_place_without_tasks(misuse_text& out, const program_site* known,
                               misuse_moment) noexcept {
    if (known != nullptr) out.add_site(known->path, known->line).add(" ");
    out.add("(outside of any task)");
}

constinit std::atomic<place_writer> write_place{&write_place_without_tasks};

[[noreturn]] void print_and_abort(const misuse_text& text) noexcept {
    std::fwrite(text.view().data(), 1, text.size(), stderr);
    std::fputc('\n', stderr);
    std::fflush(stderr);
    std::abort();
}

}  // namespace

void write_misuse_places_by(place_writer writer) noexcept {
    write_place.store(writer, std::memory_order_release);
}

void add_program_place(misuse_text& out, misuse_moment moment) noexcept {
    write_place.load(std::memory_order_acquire)(out, nullptr, moment);
}

void misused(const char* file, int line, const char* sentence, misuse_moment moment) noexcept {
    misuse_text text;
    text.add("coro: ");
    add_program_place(text, moment);
    text.add(": ").add(sentence).add(" [");
    text.add_site(file, static_cast<std::uint64_t>(line)).add("]");
    print_and_abort(text);
}

void assertion_failed(const char* file, int line, const char* sentence) noexcept {
    const program_site where{file, static_cast<std::uint64_t>(line)};
    misuse_text text;
    text.add("coro: ");
    write_place.load(std::memory_order_acquire)(text, &where, misuse_moment::in_await);
    text.add(": ").add(sentence);
    print_and_abort(text);
}

}}}  // namespace coro::v0::detail
