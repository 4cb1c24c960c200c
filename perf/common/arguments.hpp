// Command lines of the yardsticks: `--key value` pairs and bare `--flag`s, checked against a table.
//
// A mistake (unknown key, missing value, number out of range) is one sentence and exit status 2,
// so that a benchmark never runs with an option it silently ignored. `--help` prints the table.
#pragma once

#include "common/failure.hpp"

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace perf {

struct option {
    std::string_view name;   ///< without the dashes
    std::string_view value;  ///< what the value is called in the help; empty for a flag
    std::string_view help;
};

class arguments {
public:
    /// Requires: `known` outlives this object. `argv[0]` is not read; the name comes from the
    /// caller, so that messages stay the same wherever the binary lies.
    arguments(std::string_view program, std::span<const option> known, int argc, char** argv)
        : known_(known) {
        program_name() = program;
        for (int i = 1; i < argc; ++i) {
            const std::string_view word = argv[i];
            if (word == "--help") print_help();
            const option& found = find(word);
            if (given_.contains(found.name)) {
                refuse(word, "it was given twice", "keep one of the two");
            }
            std::string_view value;
            if (!found.value.empty()) {
                if (++i >= argc) refuse(word, "its value is missing", "see --help");
                value = argv[i];
            }
            given_[found.name] = value;
        }
    }

    bool has(std::string_view name) const {
        require_known(name);
        return given_.contains(name);
    }

    std::string_view text(std::string_view name, std::string_view fallback) const {
        return has(name) ? given_.at(name) : fallback;
    }

    std::uint64_t whole(std::string_view name, std::uint64_t fallback, std::uint64_t least,
                        std::uint64_t most) const {
        return number<std::uint64_t>(name, fallback, least, most);
    }

    double real(std::string_view name, double fallback, double least, double most) const {
        return number<double>(name, fallback, least, most);
    }

    [[noreturn]] static void refuse(std::string_view what, std::string_view why,
                                    std::string_view remedy) {
        std::string sentence = "read ";
        sentence.append(what).append(": ").append(why).append("; ").append(remedy);
        exit_with(2, sentence);
    }

private:
    const option& find(std::string_view word) const {
        for (const option& candidate : known_) {
            if (word.starts_with("--") && word.substr(2) == candidate.name) return candidate;
        }
        refuse(word, "there is no such option", "--help lists them");
    }

    /// A misspelt name in the program itself must not read as "not given".
    void require_known(std::string_view name) const {
        for (const option& candidate : known_) {
            if (candidate.name == name) return;
        }
        std::fprintf(stderr, "perf::arguments: --%.*s is asked for but is not in the table\n",
                     static_cast<int>(name.size()), name.data());
        std::abort();
    }

    template <typename Number>
    Number number(std::string_view name, Number fallback, Number least, Number most) const {
        if (!has(name)) return fallback;
        const std::string_view digits = given_.at(name);
        Number value{};
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), value);
        const bool whole_word = end == digits.data() + digits.size();
        // Written so that NaN, which compares false with everything, is refused too.
        if (error == std::errc{} && whole_word && value >= least && value <= most) return value;
        refuse("--" + std::string(name), "\"" + std::string(digits) + "\" does not fit",
               "give a number from " + shown(least) + " to " + shown(most));
    }

    static std::string shown(std::uint64_t value) { return std::to_string(value); }
    static std::string shown(double value) {
        char digits[32];
        std::snprintf(digits, sizeof digits, "%g", value);
        return digits;
    }

    [[noreturn]] void print_help() const {
        std::printf("%s\n", program_name().c_str());
        for (const option& each : known_) {
            std::string left = "--" + std::string(each.name);
            if (!each.value.empty()) left.append(" ").append(each.value);
            std::printf("  %-24s %.*s\n", left.c_str(), static_cast<int>(each.help.size()),
                        each.help.data());
        }
        std::exit(0);
    }

    std::span<const option> known_;
    std::map<std::string_view, std::string_view> given_;
};

}  // namespace perf
