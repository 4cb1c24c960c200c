// machine: what the rows of the report are judged by, read once.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "doctor/arguments.hpp"
#include "doctor/system_files.hpp"

namespace coro_doctor {

inline constexpr std::uint64_t unlimited = std::numeric_limits<std::uint64_t>::max();

/// A line of /proc/PID/limits; `unlimited` where the kernel says so.
struct resource_limit {
    std::uint64_t soft = 0;
    std::uint64_t hard = 0;
};

/// The tightest value of one limit among our control group and its parents.
struct group_limit {
    std::uint64_t value = unlimited;
    std::uint64_t used = 0;  ///< by the group that has it; memory without what can be dropped
    std::string source{};    ///< the file; empty when no group limits it
};

/// What control groups, version 1 or 2, allow this process.
struct group_limits {
    group_limit memory{};
    group_limit pids{};
    group_limit processors{};  ///< value in thousandths of a processor
    bool is_readable = false;  ///< whether any file of a group was found
};

struct machine {
    system_files files;
    question asked{};
    std::string kernel{};  ///< "6.12.1"; empty when unknown
    std::uint64_t page_bytes = 4096;
    std::optional<std::uint64_t> memory_total{};
    std::optional<std::uint64_t> memory_available{};
    std::optional<std::uint64_t> processors{};  ///< in the affinity mask
    std::optional<resource_limit> open_files{};
    std::optional<resource_limit> locked_memory{};
    std::optional<resource_limit> processes{};
    group_limits group{};
    bool may_lock_memory = false;      ///< CAP_IPC_LOCK: its limit does not bind
    bool is_sysctl_read_only = false;  ///< /proc/sys is mounted so, as containers have it

    /// A file of the process whose limits are judged, the asked one or this: "/proc/self/limits".
    [[nodiscard]] std::string process_file(std::string_view name) const;
    /// Memory that is left for us: of the machine, or of the control group where that is less.
    [[nodiscard]] std::optional<std::uint64_t> memory_room() const noexcept;
    /// How to set a kernel variable, as the end of a sentence: where /proc/sys is read-only, that
    /// it must be done outside.
    [[nodiscard]] std::string how_to_set(std::string_view name, std::string_view value) const;
    /// The numbers of a kernel variable ("net/core/somaxconn"), at least `count`; else nothing.
    [[nodiscard]] std::optional<std::vector<std::uint64_t>> variable(std::string_view path,
                                                                     std::size_t count = 1) const;
};

[[nodiscard]] machine look_at_machine(const question& asked);
[[nodiscard]] group_limits look_at_groups(const machine& seen);
/// A line of /proc/PID/limits by its name, "Max open files".
[[nodiscard]] std::optional<resource_limit> parse_limit(std::string_view limits,
                                                        std::string_view name);

}  // namespace coro_doctor
