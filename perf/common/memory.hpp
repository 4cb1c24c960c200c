// Memory of a process and of the kernel, as proc(5) tells it.
//
// Of a process: smaps_rollup walks the pages, where VmRSS and RssAnon of `status` may lag behind by
// dozens of pages per thread. Of the kernel: figures of the whole machine, so a difference between
// two of them says something about one program only where nothing else runs.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

namespace perf {

struct process_memory {
    std::int64_t resident = 0;   ///< bytes of all its pages
    std::int64_t anonymous = 0;  ///< of these, bytes that no file backs: heap, stacks, frames
};

struct kernel_memory {
    std::int64_t slab = 0;         ///< bytes of small objects: sockets, files, requests
    std::int64_t stacks = 0;       ///< bytes of the kernel's stacks, one for each thread
    std::int64_t page_tables = 0;  ///< bytes
    std::int64_t tcp_queues = 0;   ///< bytes that wait in queues of TCP, as sockstat counts them

    std::int64_t all() const { return slab + stacks + page_tables + tcp_queues; }
};

/// Finds `name` at the beginning of a line; the number behind it, times 1024.
inline std::optional<std::int64_t> kibibytes_of(std::FILE* file, const char* name) {
    const std::string form = std::string(name) + " %lld kB";
    std::rewind(file);
    char line[256];
    while (std::fgets(line, sizeof line, file) != nullptr) {
        long long kibibytes = 0;
        if (std::sscanf(line, form.c_str(), &kibibytes) == 1) return kibibytes * 1024;
    }
    return std::nullopt;
}

inline std::optional<process_memory> memory_of(pid_t pid) {
    const std::string path = "/proc/" + std::to_string(pid) + "/smaps_rollup";
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) return std::nullopt;
    const auto resident = kibibytes_of(file, "Rss:");
    const auto anonymous = kibibytes_of(file, "Anonymous:");
    std::fclose(file);
    if (!resident || !anonymous) return std::nullopt;
    return process_memory{*resident, *anonymous};
}

/// Bytes in queues of TCP: the last number of the line `TCP:` counts pages.
inline std::optional<std::int64_t> tcp_queue_bytes() {
    std::FILE* file = std::fopen("/proc/net/sockstat", "re");
    if (file == nullptr) return std::nullopt;
    char line[256];
    std::optional<std::int64_t> bytes;
    while (!bytes && std::fgets(line, sizeof line, file) != nullptr) {
        long long pages = 0;
        if (std::sscanf(line, "TCP: inuse %*d orphan %*d tw %*d alloc %*d mem %lld", &pages) == 1) {
            bytes = pages * sysconf(_SC_PAGESIZE);
        }
    }
    std::fclose(file);
    return bytes;
}

inline std::optional<kernel_memory> memory_of_kernel() {
    std::FILE* file = std::fopen("/proc/meminfo", "re");
    if (file == nullptr) return std::nullopt;
    const auto slab = kibibytes_of(file, "Slab:");
    const auto stacks = kibibytes_of(file, "KernelStack:");
    const auto tables = kibibytes_of(file, "PageTables:");
    std::fclose(file);
    const auto queues = tcp_queue_bytes();
    if (!slab || !stacks || !tables || !queues) return std::nullopt;
    return kernel_memory{*slab, *stacks, *tables, *queues};
}

}  // namespace perf
