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

/// The limit that leaves least, of our control group and its parents.
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
    bool is_readable = false;  ///< whether any group was found
};

/// What the process of the question has taken already. A server of so many connections has it too,
/// so it counts as room. All 0 without a process.
struct taken_already {
    std::uint64_t bytes = 0;  ///< anonymous memory; pages of files count as available anyway
    std::uint64_t threads = 0;
    std::uint64_t descriptors = 0;
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
    taken_already taken{};
    std::optional<std::uint64_t> threads_of_user{};  ///< that /proc shows
    std::uint64_t threads_of_all = 0;                ///< of the machine; 0 when unknown
    bool may_lock_memory = false;      ///< CAP_IPC_LOCK: its limit does not bind
    bool may_exceed_processes = false;  ///< root, or CAP_SYS_RESOURCE, or CAP_SYS_ADMIN
    bool is_in_other_network = false;  ///< the process has another network namespace than we
    bool is_sysctl_read_only = false;  ///< /proc/sys is mounted so, as containers have it

    /// A file of the process whose limits are judged, the asked one or this: "/proc/self/limits".
    [[nodiscard]] std::string process_file(std::string_view name) const;
    /// Memory that is left for us: of the machine, or of the control group where that is less.
    [[nodiscard]] std::optional<std::uint64_t> memory_room() const noexcept;
    /// The same of the machine alone.
    [[nodiscard]] std::optional<std::uint64_t> machine_room() const noexcept;
    /// What `limit` leaves, where `given_back` of what is used counts as left.
    [[nodiscard]] static std::uint64_t left_of(const group_limit& limit,
                                               std::uint64_t given_back) noexcept;
    /// How many threads RLIMIT_NPROC leaves; `unlimited` where it does not bind.
    [[nodiscard]] std::optional<std::uint64_t> threads_left_of_user() const noexcept;
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
