// coro-doctor: tells the limits of this machine for a TCP server, what they do, and what N
// connections need. It changes nothing.
#include <cstdio>
#include <exception>
#include <string>
#include <utility>

#include "doctor/arguments.hpp"
#include "doctor/machine.hpp"
#include "doctor/process_census.hpp"
#include "doctor/report.hpp"
#include "doctor/rows.hpp"

namespace {

using namespace coro_doctor;

report examine(const question& asked) {
    const machine seen = look_at_machine(asked);
    report all;
    all.asked = asked;
    all.kernel = seen.kernel;
    if (asked.process != 0) {
        process_census census = examine_process(seen);
        all.process = std::move(census.name);
        all.rows = std::move(census.rows);
        all.sockets = std::move(census.sockets);
        if (!asked.tell_needs) return all;
    }
    add_descriptor_rows(seen, all.rows);
    add_tcp_rows(seen, all.rows);
    add_memory_rows(seen, all.rows);
    add_thread_rows(seen, all.rows);
    add_ring_rows(seen, all.rows);
    if (asked.tell_needs) all.needs = compute_needs(seen);
    return all;
}

exit_code code_of(severity worst) noexcept {
    if (worst == severity::problem) return exit_code::problems;
    return worst == severity::warning ? exit_code::warnings : exit_code::fine;
}

/// Whether all of it reached `file`.
bool write(std::FILE* file, const std::string& text) noexcept {
    const bool taken = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    return std::fflush(file) == 0 && taken;
}

int ended(exit_code code) noexcept {
    return static_cast<int>(code);
}

int answer(const question& asked) {
    if (asked.process != 0 && !is_there(system_files(asked.root), asked.process)) {
        write(stderr, "coro-doctor: cannot examine process " + std::to_string(asked.process) +
                          ": there is none with this number; look at ps(1)\n");
        return ended(exit_code::no_process);
    }
    const report all = examine(asked);
    if (asked.process != 0 && !is_there(system_files(asked.root), asked.process)) {
        write(stderr, "coro-doctor: cannot examine process " + std::to_string(asked.process) +
                          ": it has ended meanwhile; look at ps(1)\n");
        return ended(exit_code::no_process);
    }
    if (!write(stdout, asked.json ? json_of(all) : text_of(all))) {
        write(stderr, "coro-doctor: cannot write the report to stdout: look where it leads\n");
        return ended(exit_code::not_written);
    }
    return ended(code_of(worst_of(all)));
}

}  // namespace

int main(int count, char** words) {
    try {
        const parsed_arguments parsed = parse_arguments(count, words);
        if (parsed.is_question) return answer(parsed.asked);
        if (!write(parsed.code == exit_code::fine ? stdout : stderr, parsed.text))
            return ended(exit_code::not_written);
        return ended(parsed.code);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "coro-doctor: cannot examine this machine: %s\n", error.what());
        return ended(exit_code::failed);
    }
}
