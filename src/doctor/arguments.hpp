// arguments: what the command line asks the doctor.
#pragma once

#include <cstdint>
#include <string>

namespace coro_doctor {

/// How the program ends; --help has the same list.
enum class exit_code : int {
    fine = 0,
    warnings = 1,
    problems = 2,
    bad_usage = 64,    ///< EX_USAGE of sysexits.h
    no_process = 66,   ///< EX_NOINPUT
    failed = 70,       ///< EX_SOFTWARE: without memory, for one
    not_written = 74,  ///< EX_IOERR: the report did not reach stdout
};

struct question {
    std::uint64_t connections = 1000;
    bool tell_needs = false;  ///< connections were asked for
    std::uint64_t loops = 1;
    bool fibers = false;
    std::uint64_t bytes_user = 0;
    std::uint64_t process = 0;  ///< 0: none
    bool dump = true;           ///< ask the process for its task dump
    std::string root;
    bool json = false;
    bool brief = false;
};

/// What to do: answer `asked`, or print `text` and end with `code`.
struct parsed_arguments {
    bool is_question = false;
    question asked;
    exit_code code = exit_code::fine;
    std::string text;
};

[[nodiscard]] parsed_arguments parse_arguments(int count, const char* const* words);

}  // namespace coro_doctor
