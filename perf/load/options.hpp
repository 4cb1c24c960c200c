// What coro_load was asked to do.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace load {

enum class corruption { none, flip, repeat, foreign, drop };

struct load_options {
    std::uint16_t port = 0;
    std::string_view address = "127.0.0.1";
    std::string_view source;  ///< this side's address; empty: the kernel chooses
    std::size_t connections = 64;
    std::size_t active = 0;  ///< how many of them carry messages; the others idle
    std::size_t slow = 0;    ///< how many of them read at a trickle
    std::size_t firehoses = 0;
    std::size_t size = 64;   ///< bytes of a message
    std::size_t depth = 1;   ///< messages in flight per connection
    std::size_t greedy = 0;  ///< messages in flight on the one greedy connection; 0: there is none
    std::size_t trickle = 4096;  ///< bytes a second that a slow connection reads
    double seconds = 2.0;
    double warmup = 0.5;
    double rate = 0.0;  ///< messages per second over all connections; 0: as fast as answers come
    double hold = 0.0;  ///< seconds to keep idle connections; 0: measure traffic instead
    pid_t server = 0;   ///< whose CPU time to measure; 0: nobody's
    int processor = -1;
    bool cues = false;   ///< windows as stdin asks for them
    bool brief = false;  ///< a new connection for each message
    bool poll = false;
    bool json = false;
    bool serve_corrupt = false;
    corruption kind = corruption::flip;
};

/// Exits with status 2 and a sentence when the command line makes no sense.
load_options read_options(int argc, char** argv);

}  // namespace load
