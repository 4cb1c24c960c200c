// CPU time of another process, the monotonic clock, and pinning.
//
// The CPU time of a process here is that of its children too, for a server may have one for each
// connection. Of children that have ended the kernel counts only those that were waited for, and
// tells that in ticks of 10 ms.
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
#include <unistd.h>

#include <cerrno>
#include <cstdint>
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

/// What the kernel lists of the children that the main thread of a process has made (proc(5)).
inline std::string children_file(pid_t pid) {
    const std::string number = std::to_string(pid);
    return "/proc/" + number + "/task/" + number + "/children";
}

/// CPU time of the children that live; one that ends meanwhile is no mistake.
inline std::int64_t children_nanoseconds(pid_t pid) {
    std::FILE* file = std::fopen(children_file(pid).c_str(), "re");
    if (file == nullptr) return 0;
    std::int64_t total = 0;
    int child = 0;
    while (std::fscanf(file, "%d", &child) == 1) {
        clockid_t clock{};
        timespec at{};
        if (clock_getcpuclockid(child, &clock) == 0 && clock_gettime(clock, &at) == 0) {
            total += to_nanoseconds(at);
        }
    }
    std::fclose(file);
    return total;
}

/// CPU time of the children that have ended and were waited for: two fields of proc_pid_stat(5).
inline std::int64_t waited_nanoseconds(pid_t pid) {
    std::FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "re");
    if (file == nullptr) return 0;
    char text[1024];
    const std::size_t length = std::fread(text, 1, sizeof text - 1, file);
    std::fclose(file);
    text[length] = '\0';
    const char* rest = std::strrchr(text, ')');  // behind the name, which may hold blanks
    long user = 0;
    long system = 0;
    if (rest == nullptr || std::sscanf(rest,
                                       ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u"
                                       " %ld %ld",
                                       &user, &system) != 2) {
        return 0;
    }
    return (user + system) * (1'000'000'000 / sysconf(_SC_CLK_TCK));
}

/// The CPU clock of a process and its children; fails with a sentence when there is none.
class process_clock {
public:
    explicit process_clock(pid_t pid) : pid_(pid) {
        if (const int error = clock_getcpuclockid(pid, &clock_); error != 0) vanish(error);
    }

    std::int64_t nanoseconds() const {
        timespec at{};
        if (clock_gettime(clock_, &at) != 0) vanish(errno);
        // The living first: one that ends in between is counted twice, which is some microseconds,
        // and not lost.
        const std::int64_t living = children_nanoseconds(pid_);
        return to_nanoseconds(at) + living + waited_nanoseconds(pid_);
    }

private:
    [[noreturn]] void vanish(int error) const {
        fail_errno("measure the CPU time of process " + std::to_string(pid_), error,
                   "check that the server is still running");
    }

    pid_t pid_;
    clockid_t clock_{};
};

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
