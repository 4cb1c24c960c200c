// process_census: another process: its descriptors, threads, memory and sockets of TCP.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <coro/base/time.hpp>

#include "doctor/finding.hpp"
#include "doctor/machine.hpp"

namespace coro_doctor {

struct process_census {
    std::string name{};  ///< as /proc/PID/comm has it
    std::vector<finding> rows{};
    /// States of its sockets and how many are in each; empty where they could not be asked for.
    std::vector<std::pair<std::string, std::uint64_t>> sockets{};
};

/// What to say of the oldest connection in CLOSE_WAIT, by the bounds of its age.
enum class close_wait_age : std::uint8_t {
    young,
    perhaps_old,  ///< silent for so long, and its end may be younger
    old,
};
/// An answer to a keepalive probe makes `least` small again: coro's listeners probe after 45 s. So
/// `most` is the one that tells of a leak.
[[nodiscard]] constexpr close_wait_age judge_age(coro::duration least,
                                                 coro::duration most) noexcept {
    constexpr coro::duration long_half_closed = std::chrono::seconds(60);
    if (least >= long_half_closed) return close_wait_age::old;
    return most >= long_half_closed ? close_wait_age::perhaps_old : close_wait_age::young;
}

/// Whether the process of the question is there; also where its files may not be read.
[[nodiscard]] bool is_there(const system_files& files, std::uint64_t process);
/// Asks it for its task dump too, where the question wants that and the process can give it.
[[nodiscard]] process_census examine_process(const machine& seen);

/// Sends the signal that makes a process of coro write its task dump to its stderr.
void add_dump_row(const machine& seen, std::vector<finding>& rows);

}  // namespace coro_doctor
