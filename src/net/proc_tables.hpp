// Files of /proc: read whole, and numbers found in their tables by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace coro { inline namespace v0 { namespace detail {

/// The text of `path`. Throws: io_error with `verb`, the path and why.
[[nodiscard]] std::string read_proc_file(const std::string& path, const char* verb);

/// A number of a table of /proc/net/netstat or /proc/net/snmp. There a line `TcpExt: TW TWKilled …`
/// has the names, and the next one with the same head has the numbers.
[[nodiscard]] std::optional<std::uint64_t> number_in_columns(std::string_view table,
                                                             std::string_view head,
                                                             std::string_view name) noexcept;
/// A number of a table of /proc/net/sockstat: `TCP: inuse 2 orphan 0 …`.
[[nodiscard]] std::optional<std::uint64_t> number_in_pairs(std::string_view table,
                                                           std::string_view head,
                                                           std::string_view name) noexcept;

/// Throws io_error (no_such_process) if there is no process `pid`.
void check_process(int pid, const char* verb);
/// Throws the io_error with which a question to the kernel is refused in a simulation.
void check_kernel_may_be_asked(const char* verb);

}}}  // namespace coro::v0::detail
