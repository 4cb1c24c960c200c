#include "doctor/finding.hpp"

#include <array>
#include <limits>

namespace coro_doctor {

std::string bytes_text(std::uint64_t bytes) {
    if (bytes < 1024) return std::to_string(bytes) + " bytes";
    constexpr std::array units{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    std::size_t unit = 0;
    std::uint64_t step = 1024;
    while (bytes / step >= 1024 && unit + 1 < units.size()) {
        step *= 1024;
        ++unit;
    }
    const std::uint64_t tenths = bytes % step * 10 / step;  // of 2^60 at most, so it fits
    return std::to_string(bytes / step) + "." + std::to_string(tenths) + " " + units[unit];
}

std::string limit_text(std::uint64_t limit) {
    if (limit == std::numeric_limits<std::uint64_t>::max()) return "unlimited";
    return std::to_string(limit);
}

}  // namespace coro_doctor
