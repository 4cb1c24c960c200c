// The command line of coro_load.
#include "load/options.hpp"

#include "common/arguments.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <initializer_list>
#include <string>
#include <string_view>

namespace load {

namespace {

constexpr double longest = 1e6;

constexpr std::array known{
    perf::option{"port", "P", "server's port (with --serve-corrupt: own, 0 = any)"},
    perf::option{"address", "A", "server's IPv4 address (127.0.0.1)"},
    perf::option{"source", "A", "this side's IPv4 address, which has ports of its own (any)"},
    perf::option{"connections", "N", "connections in a closed loop (64)"},
    perf::option{"active", "N", "of them carry messages, the others idle (all)"},
    perf::option{"size", "B", "bytes per message (64)"},
    perf::option{"depth", "D", "messages in flight per connection (1)"},
    perf::option{"seconds", "S", "length of the measured window (2)"},
    perf::option{"warmup", "S", "traffic before the window (0.5)"},
    perf::option{"rate", "R", "open loop: R messages/s in all; latency from when each was due"},
    perf::option{"short", "", "a new connection for each message: connect, exchange, close"},
    perf::option{"slow", "N|P%", "of them send all they can and read a trickle; own figures"},
    perf::option{"trickle", "B", "bytes/s that each slow connection reads (4096)"},
    perf::option{"greedy", "D", "one keeps D messages in flight, the others one; its share"},
    perf::option{"firehose", "N", "N more connections that send 64 KiB blocks flat out"},
    perf::option{"poll", "", "spin instead of sleeping in epoll_wait"},
    perf::option{"server-pid", "PID", "report this process' CPU time per message"},
    perf::option{"hold", "S", "one exchange each, then idle for S seconds (memory)"},
    perf::option{"cues", "", "a window for each line \"RATE SECONDS\" of stdin (RATE 0: closed)"},
    perf::option{"pin", "CPU", "run on this processor only"},
    perf::option{"json", "", "print a line of JSON for each window instead of the table"},
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

/// "12" is a count, "1%" a share of the connections: one at least.
std::size_t read_slow(std::string_view word, std::size_t connections) {
    if (word.empty()) return 0;
    const bool share = word.ends_with('%');
    const std::string_view digits = share ? word.substr(0, word.size() - 1) : word;
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    // Written so that NaN, which compares false with everything, is refused too.
    const bool fits = error == std::errc{} && end == digits.data() + digits.size() && value > 0 &&
                      (share ? value <= 99 : value == std::floor(value) && value < 1e6);
    if (!fits) {
        perf::arguments::refuse("--slow", "\"" + std::string(word) + "\" does not fit",
                                "give a count, as 10, or a share up to 99, as 1%");
    }
    const double count = share ? value / 100 * static_cast<double>(connections) : value;
    const auto slow = std::max<std::size_t>(1, static_cast<std::size_t>(std::lround(count)));
    if (slow >= connections) {
        perf::arguments::refuse("--slow", "no polite connection is left beside the slow ones",
                                "give fewer, or more --connections");
    }
    return slow;
}

std::string_view read_address(const perf::arguments& given, std::string_view name,
                              std::string_view fallback) {
    const std::string_view word = given.text(name, fallback);
    in_addr address{};
    if (!word.empty() && inet_pton(AF_INET, std::string(word).c_str(), &address) != 1) {
        perf::arguments::refuse("--" + std::string(name),
                                "\"" + std::string(word) + "\" is no IPv4 address",
                                "give four numbers, as 127.0.0.1");
    }
    return word;
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
    if (given.has("trickle") && !given.has("slow")) {
        perf::arguments::refuse("--trickle", "no connection is slow", "add --slow or leave it out");
    }
    refuse_beside(given, "short", {"firehose", "rate", "depth", "active", "slow", "greedy", "cues"},
                  "a connection carries one message");
    refuse_beside(given, "greedy", {"depth", "slow", "firehose", "active"},
                  "one connection is greedy among as many polite ones as there are");
    refuse_beside(given, "slow", {"firehose", "active"}, "the other connections are all polite");
    refuse_beside(given, "cues", {"rate", "seconds"}, "each line of stdin says rate and seconds");
    refuse_beside(given, "hold",
                  {"firehose", "rate", "depth", "seconds", "warmup", "poll", "short", "active",
                   "slow", "greedy", "cues"},
                  "connections are opened and idle");
}

void refuse_too_many(const load_options& chosen) {
    if (chosen.active > chosen.connections) {
        perf::arguments::refuse("--active",
                                std::to_string(chosen.active) + " is more than the " +
                                    std::to_string(chosen.connections) + " connections",
                                "give fewer, or more --connections");
    }
    if (chosen.greedy != 0 && chosen.connections < 2) {
        perf::arguments::refuse("--greedy", "no polite connection is left beside the greedy one",
                                "give 2 --connections or more");
    }
}

}  // namespace

load_options read_options(int argc, char** argv) {
    const perf::arguments given("coro_load", known, argc, argv);
    refuse_nonsense(given);
    load_options chosen;
    chosen.serve_corrupt = given.has("serve-corrupt");
    const std::uint64_t least_port = chosen.serve_corrupt ? 0 : 1;
    chosen.port = static_cast<std::uint16_t>(given.whole("port", 0, least_port, 65535));
    chosen.address = read_address(given, "address", "127.0.0.1");
    chosen.source = read_address(given, "source", "");
    chosen.connections = given.whole("connections", 64, 1, 1'000'000);
    chosen.active = given.whole("active", chosen.connections, 1, 1'000'000);
    chosen.slow = read_slow(given.text("slow", ""), chosen.connections);
    chosen.trickle = given.whole("trickle", 4096, 10, 1 << 30);
    chosen.firehoses = given.whole("firehose", 0, 0, 1000);
    chosen.size = given.whole("size", 64, 1, 64 << 20);
    chosen.depth = given.whole("depth", 1, 1, 65536);
    chosen.greedy = given.whole("greedy", 0, 2, 65536);
    chosen.seconds = given.real("seconds", 2.0, 0.001, longest);
    chosen.warmup = given.real("warmup", 0.5, 0.0, longest);
    chosen.rate = given.real("rate", 0.0, 0.001, 1e9);
    chosen.hold = given.real("hold", 0.0, 0.001, longest);
    chosen.server = static_cast<pid_t>(given.whole("server-pid", 0, 1, 1 << 30));
    chosen.processor = given.has("pin") ? static_cast<int>(given.whole("pin", 0, 0, 1023)) : -1;
    chosen.brief = given.has("short");
    chosen.cues = given.has("cues");
    chosen.poll = given.has("poll");
    chosen.json = given.has("json");
    chosen.kind = read_corruption(given.text("corruption", "flip"));
    refuse_too_many(chosen);
    return chosen;
}

}  // namespace load
