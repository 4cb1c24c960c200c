// report: everything that was found, and the two ways to write it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "doctor/finding.hpp"
#include "doctor/machine.hpp"

namespace coro_doctor {

struct report {
    question asked;
    std::string kernel;
    std::vector<finding> rows;
    std::string process;  ///< the name of the process that was asked for; else empty
    std::vector<std::pair<std::string, std::uint64_t>> sockets;  ///< of that, by state
    std::vector<need> needs;  ///< empty unless connections were asked for
};

[[nodiscard]] severity worst_of(const report& all) noexcept;
/// Plain text of at most 100 columns.
[[nodiscard]] std::string text_of(const report& all);
/// One JSON object; docs/guide/doctor.md has its members.
[[nodiscard]] std::string json_of(const report& all);
/// "0.1.0".
[[nodiscard]] std::string version_text();

}  // namespace coro_doctor
