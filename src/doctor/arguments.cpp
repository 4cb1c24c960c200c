#include "doctor/arguments.hpp"

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

#include "doctor/report.hpp"
#include "doctor/system_files.hpp"

namespace coro_doctor {
namespace {

constexpr std::string_view help = R"(coro-doctor: the limits of this machine for a TCP server

  coro-doctor [--connections N] [--loops L] [--fibers] [--bytes-user B]
              [--pid P [--no-dump]] [--json] [--brief]

Each row has a limit, its value, what it does, and advice: ok, note, warning or problem. It changes
nothing.

  --connections N   judge for so many connections, 1 to 1000000000, and compute what they and
                    a million need (without it: judge for 1000)
  --loops L         loops of the run, 1 to 4096 (1)
  --fibers          a fiber for each connection, not a coroutine
  --bytes-user B    bytes that your handler keeps for each connection, beside the library's (0)
  --pid P           the census of process P: its sockets, listeners, descriptors, threads and
                    memory; with --connections its limits are judged too. If it has a dump signal
                    (run_options::dump_signal), it is asked for its task dump
  --no-dump         with --pid: the process is only looked at
  --json            one JSON object on stdout
  --brief           only the rows that are not ok
  --root DIR        read DIR/proc and DIR/sys, a copy of another machine; nothing is probed then
  --version         the version
  --help            this text

Exit codes: 0 all is ok, or notes; 1 warnings; 2 problems; 64 bad usage; 66 there is no process P;
70 no report could be made; 74 stdout takes no more.
)";

constexpr std::uint64_t most_connections = 1'000'000'000;
constexpr std::uint64_t most_loops = 4096;
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 40;
constexpr std::uint64_t most_process = std::numeric_limits<std::int32_t>::max();

parsed_arguments refuse(const std::string& why) {
    return {false,
            {},
            exit_code::bad_usage,
            "coro-doctor: " + why + "; coro-doctor --help has the arguments\n"};
}

/// One option that takes a number.
struct number_option {
    std::string_view name;
    std::uint64_t least;
    std::uint64_t most;
    std::uint64_t question::*into;
};

constexpr std::array number_options{
    number_option{"--connections", 1, most_connections, &question::connections},
    number_option{"--loops", 1, most_loops, &question::loops},
    number_option{"--bytes-user", 0, most_bytes, &question::bytes_user},
    number_option{"--pid", 1, most_process, &question::process},
};

struct flag_option {
    std::string_view name;
    bool question::*into;
    bool value = true;
};

constexpr std::array flag_options{
    flag_option{"--fibers", &question::fibers},
    flag_option{"--no-dump", &question::dump, false},
    flag_option{"--json", &question::json},
    flag_option{"--brief", &question::brief},
};

/// The sentence about a wrong value; empty when it was taken.
std::string take_number(const number_option& option, std::string_view text, question& asked) {
    const auto number = parse_number(text);
    if (!number || *number < option.least || *number > option.most) {
        return "cannot take " + quoted(text) + " for " + std::string(option.name) +
               ": it takes a number from " + std::to_string(option.least) + " to " +
               std::to_string(option.most);
    }
    asked.*option.into = *number;
    if (option.into == &question::connections) asked.tell_needs = true;
    return {};
}

std::string take_root(std::string_view text, question& asked) {
    if (text.empty()) return "cannot take an empty --root: it takes the name of a folder";
    asked.root = text;
    return {};
}

/// One option with a value, `--name=value` or `--name value`; nothing when `name` is none of them.
std::optional<std::string> take_value(std::string_view name, std::string_view value,
                                      question& asked) {
    if (name == "--root") return take_root(value, asked);
    for (const number_option& option : number_options) {
        if (option.name == name) return take_number(option, value, asked);
    }
    return std::nullopt;
}

bool takes_value(std::string_view name) {
    for (const number_option& option : number_options) {
        if (option.name == name) return true;
    }
    return name == "--root";
}

bool take_flag(std::string_view word, question& asked) {
    for (const flag_option& option : flag_options) {
        if (option.name != word) continue;
        asked.*option.into = option.value;
        return true;
    }
    return false;
}

std::string version_line() {
    return "coro-doctor " + version_text() + "\n";
}

}  // namespace

parsed_arguments parse_arguments(int count, const char* const* words) {
    parsed_arguments result;
    for (int at = 1; at < count; ++at) {
        const std::string_view word = words[at];
        if (word == "--help" || word == "-h")
            return {false, {}, exit_code::fine, std::string(help)};
        if (word == "--version") return {false, {}, exit_code::fine, version_line()};
        if (take_flag(word, result.asked)) continue;
        const std::size_t equals = word.find('=');
        const std::string_view name = word.substr(0, equals);
        if (!takes_value(name)) return refuse("there is no argument " + quoted(word));
        std::string_view value;
        if (equals != std::string_view::npos) {
            value = word.substr(equals + 1);
        } else if (++at < count) {
            value = words[at];
        } else {
            return refuse(std::string(name) + " needs a value behind it");
        }
        if (const auto wrong = take_value(name, value, result.asked); wrong && !wrong->empty())
            return refuse(*wrong);
    }
    result.is_question = true;
    return result;
}

}  // namespace coro_doctor
