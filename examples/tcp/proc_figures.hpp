// proc_figures: what /proc and /sys tell of memory, threads and descriptors (proc(5)), for
// questions that count what a connection costs.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "errors.hpp"

namespace tcp_truth {

/// The number behind a name like "VmPTE:" in a file of /proc; 0 where it has none.
inline std::size_t figure(const std::filesystem::path& path, const std::string& name) {
    std::ifstream file(path);
    for (std::string word; file >> word;)
        if (std::size_t value = 0; word == name && file >> value) return value;
    return 0;
}

/// The bytes of one object of a cache of the kernel; 0 when this user may not know.
inline std::size_t object_size(const std::string& cache) {
    std::size_t size = 0;
    std::ifstream("/sys/kernel/slab/" + cache + "/object_size") >> size;
    return size;
}

inline std::size_t resident_bytes() {
    return figure("/proc/self/status", "VmRSS:") * 1024;
}

/// What a directory has: the open descriptors of a process in "/proc/self/fd", say.
inline std::size_t count_entries(const std::filesystem::path& directory) {
    const std::filesystem::directory_iterator begin(directory);
    return static_cast<std::size_t>(std::distance(begin, std::filesystem::directory_iterator()));
}

/// Sets how many descriptors this process may have, at most the hard limit. The limit before.
inline rlim_t set_descriptor_limit(rlim_t most) {
    rlimit limit{};
    checked("getrlimit", ::getrlimit(RLIMIT_NOFILE, &limit));
    const rlim_t before = limit.rlim_cur;
    if (most > limit.rlim_max)
        throw not_allowed("the hard limit of descriptors is " + std::to_string(limit.rlim_max));
    limit.rlim_cur = most;
    checked("setrlimit", ::setrlimit(RLIMIT_NOFILE, &limit));
    return before;
}

}  // namespace tcp_truth
