// The chain of awaits, outwards, and the names of the frames: for the dump and for sentences of
// misuse. Nothing here allocates.
#pragma once

#include <source_location>
#include <string_view>

#include <coro/core/detail/strand.hpp>

#include "base/text_line.hpp"

namespace coro { inline namespace v0 { namespace detail {

using function_name_text = text_line<1024>;

/// `coro::task<> app::handle(int)` -> `app::handle`, `main_()::<lambda(int)>` -> `main_::<lambda>`;
/// the same from both compilers, which write the whole signature, each in its own way.
[[nodiscard]] function_name_text function_name(std::string_view signature) noexcept;

/// A frame and the strand in which it is.
struct chain_position {
    const detail::strand* strand;
    const frame_link* frame;  ///< nullptr: there is none further out
};

/// The innermost frame; for a branch without one, the frame that awaits the branches.
[[nodiscard]] chain_position first_frame(const detail::strand& strand) noexcept;
/// The frame that awaits this one, or that opened the group or set in which its strand runs.
[[nodiscard]] chain_position outer(chain_position at) noexcept;
/// Whether the frame is of a coroutine of the library's own.
[[nodiscard]] bool is_library_frame(const frame_link& frame) noexcept;
/// The innermost frame of the program's own.
[[nodiscard]] inline chain_position first_program_frame(const detail::strand& strand) noexcept {
    chain_position at = first_frame(strand);
    while (at.frame != nullptr && is_library_frame(*at.frame)) at = outer(at);
    return at;
}

}}}  // namespace coro::v0::detail
