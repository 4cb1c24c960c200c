// How many coroutine frames are alive, and where they were created: leak checks of tests and run().
#pragma once

#include <cstdint>
#include <string>

#include <coro/core/detail/strand.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Frames created minus destroyed outside of any loop, plus those of loops that have ended. With no
/// loop running this is the number of frames alive in the process.
[[nodiscard]] std::int64_t frames_counted_outside() noexcept;
void add_frames_of_ended_loop(std::int64_t frames) noexcept;

/// One line for each frame created since `frame_tracking` was set and still alive.
void list_tracked_frames(text_sink& out);

}}}  // namespace coro::v0::detail
