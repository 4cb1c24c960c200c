// The command line of coro_load.
#include "load/options.hpp"

#include "common/arguments.hpp"

#include <array>
#include <initializer_list>
#include <string>
#include <string_view>

namespace load {

namespace {

constexpr double longest = 1e6;

constexpr std::array known{
    perf::option{"port", "P", "server's port on 127.0.0.1 (with --serve-corrupt: own, 0 = any)"},
    perf::option{"connections", "N", "connections in a closed loop (64)"},
    perf::option{"size", "B", "bytes per message (64)"},
    perf::option{"depth", "D", "messages in flight per connection (1)"},
    perf::option{"seconds", "S", "length of the measured window (2)"},
    perf::option{"warmup", "S", "traffic before the window (0.5)"},
    perf::option{"rate", "R", "messages/s in all, on a schedule; latency counts from it"},
    perf::option{"short", "", "a new connection for each message: connect, exchange, close"},
    perf::option{"poll", "", "spin instead of sleeping in epoll_wait"},
    perf::option{"server-pid", "PID", "report this process' CPU time per message"},
    perf::option{"hold", "S", "one exchange each, then idle for S seconds (memory)"},
    perf::option{"firehose", "N", "N more connections that send 64 KiB blocks flat out"},
    perf::option{"pin", "CPU", "run on this processor only"},
    perf::option{"json", "", "print one line of JSON instead of the table"},
    perf::option{"serve-corrupt", "", "be an echo server that cheats after about 20 messages"},
    perf::option{"corruption", "KIND", "how: flip (default), repeat, foreign, drop or none"},
};

corruption read_corruption(std::string_view word) {
    if (word == "none") return corruption::none;
    if (word == "flip") return corruption::flip;
    if (word == "repeat") return corruption::repeat;
    if (word == "foreign") return corruption::foreign;
    if (word == "drop") return corruption::drop;
    perf::arguments::refuse("--corruption", "there is no kind \"" + std::string(word) + "\"",
                            "give none, flip, repeat, foreign or drop");
}

void refuse_beside(const perf::arguments& given, std::string_view chosen,
                   std::initializer_list<std::string_view> others, std::string_view why) {
    if (!given.has(chosen)) return;
    for (const std::string_view other : others) {
        if (!given.has(other)) continue;
        perf::arguments::refuse("--" + std::string(other),
                                "with --" + std::string(chosen) + " " + std::string(why),
                                "leave one of the two out");
    }
}

/// An option that would be ignored beside another is refused: nobody should read figures of a run
/// other than the one asked for.
void refuse_nonsense(const perf::arguments& given) {
    if (!given.has("port") && !given.has("serve-corrupt")) {
        perf::arguments::refuse("--port", "it is missing", "give the server's port");
    }
    if (given.has("corruption") && !given.has("serve-corrupt")) {
        perf::arguments::refuse("--corruption", "it means nothing to a client",
                                "add --serve-corrupt or leave it out");
    }
    if (given.has("firehose") && given.has("depth")) {
        perf::arguments::refuse("--depth", "beside --firehose the others ping one at a time",
                                "leave it out");
    }
    refuse_beside(given, "short", {"firehose", "rate", "depth"},
                  "a connection carries one message");
    refuse_beside(given, "hold",
                  {"firehose", "rate", "depth", "seconds", "warmup", "poll", "short"},
                  "connections are opened and idle");
}

}  // namespace

load_options read_options(int argc, char** argv) {
    const perf::arguments given("coro_load", known, argc, argv);
    refuse_nonsense(given);
    load_options chosen;
    chosen.serve_corrupt = given.has("serve-corrupt");
    const std::uint64_t least_port = chosen.serve_corrupt ? 0 : 1;
    chosen.port = static_cast<std::uint16_t>(given.whole("port", 0, least_port, 65535));
    chosen.connections = given.whole("connections", 64, 1, 1'000'000);
    chosen.firehoses = given.whole("firehose", 0, 0, 1000);
    chosen.size = given.whole("size", 64, 1, 64 << 20);
    chosen.depth = given.whole("depth", 1, 1, 65536);
    chosen.seconds = given.real("seconds", 2.0, 0.001, longest);
    chosen.warmup = given.real("warmup", 0.5, 0.0, longest);
    chosen.rate = given.real("rate", 0.0, 0.001, 1e9);
    chosen.hold = given.real("hold", 0.0, 0.001, longest);
    chosen.server = static_cast<pid_t>(given.whole("server-pid", 0, 1, 1 << 30));
    chosen.processor = given.has("pin") ? static_cast<int>(given.whole("pin", 0, 0, 1023)) : -1;
    chosen.brief = given.has("short");
    chosen.poll = given.has("poll");
    chosen.json = given.has("json");
    chosen.kind = read_corruption(given.text("corruption", "flip"));
    return chosen;
}

}  // namespace load
