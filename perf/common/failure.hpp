// How a yardstick gives up: one sentence on stderr, then an exit status.
//
// Status 1 says that what was measured went wrong, status 2 that the command line did. Status 3
// says that the model of this server ends here: it cannot serve what it was asked to.
// A sentence names the verb, what it was applied to, why it failed and, after the semicolon,
// what to do about it.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace perf {

/// The running program's name, put in front of every sentence.
inline std::string& program_name() {
    static std::string name = "perf";
    return name;
}

[[noreturn]] inline void exit_with(int status, std::string_view sentence) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: %.*s\n", program_name().c_str(), static_cast<int>(sentence.size()),
                 sentence.data());
    std::exit(status);
}

[[noreturn]] inline void fail(std::string_view sentence) {
    exit_with(1, sentence);
}

/// The runner prints this sentence in the cell of its table, which has no figure then.
[[noreturn]] inline void cannot_serve(std::string_view sentence) {
    exit_with(3, sentence);
}

/// `doing` is verb and object ("bind 127.0.0.1:80"), `error` an errno value.
[[noreturn]] inline void fail_errno(std::string_view doing, int error, std::string_view remedy) {
    std::string sentence(doing);
    sentence += ": ";
    sentence += std::strerror(error);
    sentence += "; ";
    sentence += remedy;
    fail(sentence);
}

}  // namespace perf
