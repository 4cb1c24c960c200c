// How many processors this process may really use: affinity, and the quotas of its control groups.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace coro { inline namespace v0 { namespace detail {

/// Processors in the affinity mask of the calling thread, at least 1. The quotas of its control
/// group and of all groups above it cut them. Reads files: to be called when loops start, not in a
/// loop.
/// See: sched_getaffinity(2), cgroups(7).
[[nodiscard]] unsigned available_processors();

/// How often the calling thread was preempted since it began. See: getrusage(2) RUSAGE_THREAD.
[[nodiscard]] std::uint64_t involuntary_switches() noexcept;

// --- the parts of it, for tests

/// The text of a file; nullopt when there is none. Tests plant their own.
using file_reader = std::optional<std::string> (*)(const std::string& path, void* user);

/// A share of a processor's time: quota per period, both in microseconds.
struct processor_quota {
    std::uint64_t quota = 0;
    std::uint64_t period = 0;

    /// Whole processors, rounded down, at least 1: half a processor cannot carry a spinning loop.
    [[nodiscard]] unsigned processors() const noexcept;
};

/// Version 2, the text of cpu.max: `150000 100000`; nullopt for `max` and for what cannot be read.
[[nodiscard]] std::optional<processor_quota> parse_cpu_max(std::string_view text) noexcept;

/// Version 1, the texts of cpu.cfs_quota_us (-1 is none) and cpu.cfs_period_us.
[[nodiscard]] std::optional<processor_quota> parse_cfs(std::string_view quota,
                                                       std::string_view period) noexcept;

/// The path of the process in /proc/self/cgroup: of the controller `cpu` in version 1, of the line
/// `0::` when `controller` is empty. nullopt when there is no such line.
[[nodiscard]] std::optional<std::string_view> control_group(std::string_view proc_self_cgroup,
                                                            std::string_view controller) noexcept;

/// The smallest limit of the process's groups and all above them; nullopt when there is none.
[[nodiscard]] std::optional<unsigned> control_group_limit(file_reader read, void* user);

}}}  // namespace coro::v0::detail
