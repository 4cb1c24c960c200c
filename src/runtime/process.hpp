// The process: the limit of open files, which run() changes, its number and those of its threads.
#pragma once

#include <cstdint>

namespace coro { inline namespace v0 { namespace detail {

/// Raises the soft limit of open files to the hard one, once a process. A forked child gets the old
/// limit back (setrlimit(2): programs that use select(2) must not see descriptors above 1023).
void raise_descriptor_limit() noexcept;

/// As ps -L and /proc show it: gettid(2).
[[nodiscard]] std::int32_t this_thread_id() noexcept;
/// getpid(2)
[[nodiscard]] std::int32_t this_process_id() noexcept;

}}}  // namespace coro::v0::detail
