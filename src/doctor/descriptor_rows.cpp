// Descriptors: how many this process, any process, and all processes together may have.
#include <algorithm>

#include "doctor/needs.hpp"
#include "doctor/rows.hpp"

namespace coro_doctor {
namespace {

std::uint64_t needed(const machine& seen) {
    return descriptors_for(seen.asked.connections, seen.asked.loops);
}

std::string need_text(const machine& seen) {
    return connections_text(seen) + " need " + std::to_string(needed(seen));
}

finding open_files_row(const machine& seen) {
    finding row{.section = "descriptors",
                .name = "RLIMIT_NOFILE",
                .meaning =
                    "The descriptors that a process may have open (ulimit -n); a connection "
                    "takes one.",
                .source = seen.process_file("limits")};
    const reading file = seen.files.read(row.source);
    if (!file.is_present()) {
        say_unreadable(row, file, "Look whether /proc is mounted.");
        return row;
    }
    if (!seen.open_files) {
        row.value = "unknown (no line \"Max open files\")";
        row.says = warning("No kernel writes this: look what is mounted over /proc.");
        return row;
    }
    const auto [soft, hard] = *seen.open_files;
    row.value = "soft " + limit_text(soft) + ", hard " + limit_text(hard);
    row.numbers = {soft, hard};
    const std::string wanted = std::to_string(needed(seen));
    if (hard < needed(seen)) {
        row.says = problem(need_text(seen) + ". Raise the hard limit: LimitNOFILE=" + wanted +
                           " of systemd, --ulimit nofile=" + wanted +
                           " of a container, limits.conf(5) for a login.");
    } else if (soft < needed(seen)) {
        row.says = note(need_text(seen) +
                        ". coro raises the soft limit to the hard one when a run "
                        "begins; other programs need ulimit -Sn " +
                        wanted + ".");
    } else {
        row.says = fine(need_text(seen) + ": enough.");
    }
    return row;
}

verdict judge_nr_open(const machine& seen, const std::vector<std::uint64_t>& numbers) {
    if (numbers[0] >= needed(seen)) return fine(need_text(seen) + ": enough.");
    return problem(need_text(seen) + ", and no limit of a process can be above this: " +
                   seen.how_to_set("fs.nr_open", std::to_string(needed(seen))) + ".");
}

verdict judge_file_max(const machine& seen, const std::vector<std::uint64_t>& numbers) {
    // "open, free, most": proc_sys_fs(5).
    const auto used = seen.variable("fs/file-nr", 3);
    const std::uint64_t open = used ? (*used)[0] : 0;
    const std::uint64_t others = open - std::min(open, seen.taken.descriptors);
    const std::uint64_t left = numbers[0] - std::min(numbers[0], others);
    const std::string now = std::to_string(open) + " are open now. ";
    if (left >= needed(seen)) return fine(now + need_text(seen) + ": enough.");
    const std::uint64_t wanted = others + 2 * needed(seen);
    return problem(now + need_text(seen) +
                   " more: " + seen.how_to_set("fs.file-max", std::to_string(wanted)) + ".");
}

}  // namespace

void add_descriptor_rows(const machine& seen, std::vector<finding>& rows) {
    rows.push_back(open_files_row(seen));
    add_variable(seen,
                 {"descriptors", "fs/nr_open", 1, "",
                  "The greatest RLIMIT_NOFILE that any process can have, root's too.",
                  &judge_nr_open, "Look whether /proc/sys is mounted."},
                 rows);
    add_variable(seen,
                 {"descriptors", "fs/file-max", 1, "",
                  "The open files of all processes together; beyond it accept fails with ENFILE.",
                  &judge_file_max, "Look whether /proc/sys is mounted."},
                 rows);
}

}  // namespace coro_doctor
