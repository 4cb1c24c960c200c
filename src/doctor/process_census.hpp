// process_census: another process: its descriptors, threads, memory and sockets of TCP.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "doctor/finding.hpp"
#include "doctor/machine.hpp"

namespace coro_doctor {

struct process_census {
    std::string name{};  ///< as /proc/PID/comm has it
    std::vector<finding> rows{};
    /// States of its sockets and how many are in each; empty where they could not be asked for.
    std::vector<std::pair<std::string, std::uint64_t>> sockets{};
};

/// Whether the process of the question is there.
[[nodiscard]] bool is_there(const system_files& files, std::uint64_t process);
/// Asks it for its task dump too, where the question wants that and the process can give it.
[[nodiscard]] process_census examine_process(const machine& seen);

/// Sends the signal that makes a process of coro write its task dump to its stderr.
void add_dump_row(const machine& seen, std::vector<finding>& rows);

}  // namespace coro_doctor
