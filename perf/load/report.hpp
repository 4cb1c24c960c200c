// What a run found, and how it is printed.
#pragma once

#include "common/histogram.hpp"
#include "common/memory.hpp"
#include "load/options.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace load {

/// Messages in the window of one polite connection beside those of another.
struct fairness {
    std::uint64_t least = 0;
    std::uint64_t most = 0;
    double jain = 0;  ///< (sum of x)^2 / (n * sum of x^2): 1 where all have the same
};

struct measurement {
    double seconds = 0;          ///< of the window, as it was
    std::uint64_t messages = 0;  ///< completed in the window, of polite connections
    std::uint64_t greedy_messages = 0;
    std::uint64_t firehose_bytes = 0;
    std::uint64_t slow_bytes = 0;  ///< read by slow connections
    std::size_t held_back = 0;     ///< slow ones that could not send at its end: nobody read
    fairness among;                ///< the polite connections
    /// Nanoseconds: of the messages above, or, with a rate, of those that were due in the window.
    perf::histogram latency;
    std::optional<std::int64_t> server_cpu;  ///< nanoseconds within the window
    std::int64_t own_cpu = 0;
};

/// Connections that ended although nobody asked them to.
struct ends {
    std::uint64_t ended_by_eof = 0;
    std::uint64_t ended_by_error = 0;
    std::string first_end;  ///< sentence about the first one
};

struct outcome : ends {
    measurement window;
    std::uint64_t messages_total = 0;  ///< whole run, firehose blocks included
};

/// Memory before connections were opened, and while they idle.
struct idle_memory : ends {
    std::size_t connections = 0;
    std::size_t alive = 0;
    perf::process_memory server_before;
    std::optional<perf::process_memory> server_after;  ///< nothing: no server was named
    perf::kernel_memory kernel_before;
    std::optional<perf::kernel_memory> kernel_after;  ///< nothing: this system does not tell
};

/// Prints the table, or the JSON line.
void print_outcome(const load_options& options, const outcome& found);
void print_memory(const load_options& options, const idle_memory& found);

/// Ends the program with status 1 when connections were lost.
void refuse_losses(const ends& found);

}  // namespace load
