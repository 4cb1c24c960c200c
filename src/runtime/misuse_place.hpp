// Sentences of misuse name the task that runs, once there is a loop.
#pragma once

namespace coro { inline namespace v0 { namespace detail {

void write_misuse_places_with_tasks() noexcept;

}}}  // namespace coro::v0::detail
