// Where the program stands when it misuses the library: asked of a layer that knows tasks.
#pragma once

#include <cstdint>

#include <coro/base/detail/assert.hpp>

#include "base/text_line.hpp"

namespace coro { inline namespace v0 { namespace detail {

using misuse_text = text_line<2048>;

struct program_site {
    const char* path;
    std::uint64_t line;
};

/// Adds the place, as `echo.cpp:14 (task "first", #12, in handle)`. `known`: the place in the
/// program, where the sentence has it, or nullptr. Must not allocate; called before an abort.
using place_writer = void (*)(misuse_text& out, const program_site* known,
                              misuse_moment moment) noexcept;

/// Adds the place of the program's latest await, and the task.
void add_program_place(misuse_text& out, misuse_moment moment) noexcept;

/// From now on `writer` says where. Any thread.
void write_misuse_places_by(place_writer writer) noexcept;

}}}  // namespace coro::v0::detail
