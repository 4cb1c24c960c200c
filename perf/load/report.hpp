// What a run found, and how it is printed.
#pragma once

#include "common/histogram.hpp"
#include "load/options.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace load {

struct measurement {
    double seconds = 0;          ///< of the window, as it was
    std::uint64_t messages = 0;  ///< completed in the window, without firehoses
    std::uint64_t firehose_bytes = 0;
    perf::histogram latency;                 ///< nanoseconds, of the messages above
    std::optional<std::int64_t> server_cpu;  ///< nanoseconds within the window
    std::int64_t own_cpu = 0;
};

struct outcome {
    measurement window;
    std::uint64_t messages_total = 0;  ///< whole run, firehose blocks included
    std::uint64_t ended_by_eof = 0;
    std::uint64_t ended_by_error = 0;
    std::string first_end;  ///< sentence about the first connection lost
};

/// Prints the table, or the JSON line.
void print_outcome(const load_options& options, const outcome& found);

}  // namespace load
