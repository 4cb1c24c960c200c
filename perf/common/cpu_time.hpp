// CPU time and resident memory of another process, the monotonic clock, and pinning.
//
// The process CPU clock counts nanoseconds of all threads, user and system, where the utime and
// stime of /proc/<pid>/stat count 10 ms ticks. One surprise: for a thread that is running this
// instant the kernel's count is as old as its last scheduler tick or switch, so a reading may lag
// by one tick (1 to 4 ms). Over a window of 0.5 s that is below 1 %, without bias.
#pragma once

#include "common/failure.hpp"

#include <sched.h>
#include <sys/types.h>
#include <time.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>

namespace perf {

inline std::int64_t to_nanoseconds(const timespec& at) {
    return std::int64_t{at.tv_sec} * 1'000'000'000 + at.tv_nsec;
}

inline std::int64_t monotonic_nanoseconds() {
    timespec at{};
    clock_gettime(CLOCK_MONOTONIC, &at);
    return to_nanoseconds(at);
}

/// The CPU clock of one process; fails with a sentence when there is none.
class process_clock {
public:
    explicit process_clock(pid_t pid) : pid_(pid) {
        if (const int error = clock_getcpuclockid(pid, &clock_); error != 0) vanish(error);
    }

    std::int64_t nanoseconds() const {
        timespec at{};
        if (clock_gettime(clock_, &at) != 0) vanish(errno);
        return to_nanoseconds(at);
    }

private:
    [[noreturn]] void vanish(int error) const {
        fail_errno("measure the CPU time of process " + std::to_string(pid_), error,
                   "check that the server is still running");
    }

    pid_t pid_;
    clockid_t clock_{};
};

/// Resident bytes of a process. smaps_rollup walks the pages, where VmRSS may lag behind by
/// dozens of pages per thread.
inline std::optional<std::int64_t> resident_bytes(pid_t pid) {
    const std::string path = "/proc/" + std::to_string(pid) + "/smaps_rollup";
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) return std::nullopt;
    char line[256];
    std::optional<std::int64_t> bytes;
    while (!bytes && std::fgets(line, sizeof line, file) != nullptr) {
        long long kibibytes = 0;
        if (std::sscanf(line, "Rss: %lld kB", &kibibytes) == 1) bytes = kibibytes * 1024;
    }
    std::fclose(file);
    return bytes;
}

inline void pin_to_processor(unsigned processor) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(processor, &only);
    if (sched_setaffinity(0, sizeof only, &only) != 0) {
        fail_errno("pin to processor " + std::to_string(processor), errno,
                   "choose one that nproc and the container allow");
    }
}

}  // namespace perf
