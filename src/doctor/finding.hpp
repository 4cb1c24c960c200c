// finding: one row of the report, a limit and what the doctor says of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace coro_doctor {

/// In order: the worst row decides the exit code.
enum class severity : std::uint8_t {
    ok,
    note,     ///< worth to know, nothing that stops the connections
    warning,  ///< works, and not as well, or not for all
    problem,  ///< the connections that were asked for do not fit
};

[[nodiscard]] constexpr std::string_view name_of(severity level) noexcept {
    switch (level) {
        case severity::ok:
            return "ok";
        case severity::note:
            return "note";
        case severity::warning:
            return "warning";
        case severity::problem:
            return "problem";
    }
    return "problem";
}

/// What the doctor says of a value.
struct verdict {
    severity level = severity::ok;
    std::string advice{};
};

struct finding {
    std::string section{};
    std::string name{};
    std::string value{};  ///< as a person reads it; "unknown (…)" where there is none
    std::vector<std::uint64_t> numbers{};  ///< the same for programs, as far as it is numbers
    std::string unit{"count"};  ///< of the numbers; of each, with commas, where they differ
    std::string meaning{};                 ///< one sentence: what it does
    verdict says{};
    std::string source{};  ///< the file that it was read from
};

/// A need of the connections, beside a million of them.
struct need {
    std::string name{};
    std::string meaning{};
    std::uint64_t asked = 0;    ///< for the connections that were asked for
    std::uint64_t million = 0;  ///< for a million
    std::uint64_t here = 0;     ///< what this machine has
    bool is_limited = false;    ///< whether `here` says something
    bool is_unknown = false;    ///< something may limit it, and what it leaves cannot be read
    bool in_bytes = false;
    verdict says{};
};

/// "8.0 KiB", "1.5 GiB"; below 1 KiB "792 bytes".
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);
/// "unlimited" for the greatest number, else the number.
[[nodiscard]] std::string limit_text(std::uint64_t limit);

}  // namespace coro_doctor
