// Memory, threads and processors: of the machine, and of the control group that a container is.
#include <algorithm>

#include "doctor/needs.hpp"
#include "doctor/rows.hpp"

namespace coro_doctor {
namespace {

std::uint64_t bytes_needed(const machine& seen) {
    return product(seen.asked.connections, user_bytes(seen.asked) + kernel_bytes_connection);
}

verdict judge_room(const machine& seen, std::uint64_t room) {
    const std::uint64_t needed = bytes_needed(seen);
    const std::string what = connections_text(seen) + ", all idle, need " + bytes_text(needed) +
                             " with the kernel's part";
    if (needed > room) return problem(what + ": more memory, fewer connections, or less for each.");
    if (needed > room - room / 5)
        return warning(what + ": little is left for data that is queued.");
    return fine(what + ".");
}

finding memory_row(const machine& seen) {
    finding row{.section = "memory",
                .name = "memory of the machine",
                .meaning = "All memory, and what programs could still take without swapping.",
                .source = "/proc/meminfo"};
    const reading file = seen.files.read(row.source);
    if (!file.is_present()) {
        say_unreadable(row, file, "Look whether /proc is mounted.");
    } else if (!seen.memory_total || !seen.memory_available) {
        row.value = "unknown (no MemTotal, or no MemAvailable)";
        row.says = warning("No kernel writes this: look what is mounted over " + row.source + ".");
    } else {
        row.value =
            bytes_text(*seen.memory_total) + ", available " + bytes_text(*seen.memory_available);
        row.numbers = {*seen.memory_total, *seen.memory_available};
        row.unit = "bytes";
        row.says = judge_room(seen, *seen.machine_room());
    }
    return row;
}

/// A row of a limit of the control group: `group` has the number, `text` writes it.
finding group_row(const machine& seen, std::string_view section, std::string_view name,
                  std::string_view meaning, const group_limit& limit) {
    finding row{.section = std::string(section),
                .name = std::string(name),
                .meaning = std::string(meaning),
                .source = limit.source.empty() ? "/sys/fs/cgroup" : limit.source};
    if (!seen.group.is_readable) {
        row.value = "unknown (no control group can be read)";
        row.says = note("The limit of a container would not be seen: look from outside.");
    } else if (limit.value == unlimited) {
        row.value = "none";
        row.says = fine("No control group limits it here.");
    } else {
        row.numbers = {limit.value, limit.used};
    }
    return row;
}

finding group_memory_row(const machine& seen) {
    const group_limit& limit = seen.group.memory;
    finding row =
        group_row(seen, "memory", "memory of the control group",
                  "What a container may use, the kernel's memory of its sockets included.", limit);
    if (row.numbers.empty()) return row;
    row.value = bytes_text(limit.value) + ", used " + bytes_text(limit.used);
    row.unit = "bytes";
    row.says = judge_room(seen, machine::left_of(limit, seen.taken.bytes));
    return row;
}

verdict judge_map_count(const machine& seen, const std::vector<std::uint64_t>& numbers) {
    const std::uint64_t most = numbers[0] > mappings_of_program
                                   ? (numbers[0] - mappings_of_program) / mappings_of_fiber
                                   : 0;
    const std::string fibers = "About " + std::to_string(most) + " fibers can wait at once";
    if (!seen.asked.fibers) return fine(fibers + "; tasks take none.");
    const std::uint64_t wanted = mappings_for(seen.asked.connections);
    if (numbers[0] >= wanted) return fine(fibers + ".");
    return problem(fibers + ": " + seen.how_to_set("vm.max_map_count", std::to_string(wanted)) +
                   ", or tasks instead of fibers.");
}

verdict judge_threads(const machine& seen, std::uint64_t left) {
    const std::uint64_t needed = threads_for(seen.asked.loops);
    const std::string what = "A run needs up to " + std::to_string(needed) +
                             " threads: its loops, and those for blocking calls";
    if (left >= needed) return fine(what + ".");
    return problem(what + "; " + std::to_string(left) + " are left" +
                   ". Raise it: TasksMax= of systemd, --pids-limit of a container, ulimit -u.");
}

finding pids_row(const machine& seen) {
    const group_limit& limit = seen.group.pids;
    finding row = group_row(seen, "threads and processors", "pids of the control group",
                            "Threads and processes that a container may have.", limit);
    if (row.numbers.empty()) return row;
    row.value = std::to_string(limit.value) + ", used " + std::to_string(limit.used);
    row.says = judge_threads(seen, machine::left_of(limit, seen.taken.threads));
    return row;
}

finding processes_row(const machine& seen) {
    finding row{
        .section = "threads and processors",
        .name = "RLIMIT_NPROC",
        .meaning = "Threads of all programs of a user (ulimit -u); it does not bind root.",
        .source = seen.process_file("limits")};
    const reading file = seen.files.read(row.source);
    if (!file.is_present()) {
        say_unreadable(row, file, "Look whether /proc is mounted.");
    } else if (!seen.processes) {
        row.value = "unknown (no line \"Max processes\")";
        row.says = warning("No kernel writes this: look what is mounted over /proc.");
    } else {
        row.value = "soft " + limit_text(seen.processes->soft) + ", hard " +
                    limit_text(seen.processes->hard);
        row.numbers = {seen.processes->soft, seen.processes->hard};
        row.says = judge_threads(seen, *seen.threads_left_of_user());
        if (seen.may_exceed_processes && seen.processes->soft < threads_for(seen.asked.loops)) {
            row.says = note("It is below the " + std::to_string(threads_for(seen.asked.loops)) +
                            " threads of a run, and does not bind root, nor who has "
                            "CAP_SYS_RESOURCE. Another user would need more.");
        } else if (!seen.may_exceed_processes && seen.threads_of_user) {
            row.value += ", used " + std::to_string(*seen.threads_of_user);
            row.numbers.push_back(*seen.threads_of_user);
        }
    }
    return row;
}

verdict judge_threads_max(const machine& seen, const std::vector<std::uint64_t>& numbers) {
    const std::uint64_t others =
        seen.threads_of_all - std::min(seen.threads_of_all, seen.taken.threads);
    return judge_threads(seen, numbers[0] - std::min(numbers[0], others));
}

finding processors_row(const machine& seen) {
    finding row{.section = "threads and processors",
                .name = "processors",
                .meaning = "Processors on which this process may run, by its affinity and cpu.max.",
                .source = seen.process_file("status")};
    if (!seen.processors) {
        row.value = "unknown (no Cpus_allowed_list)";
        row.says = note("Give a run at most as many loops as it has processors.");
        return row;
    }
    std::uint64_t whole = *seen.processors;
    row.value = std::to_string(whole);
    row.numbers = {whole};
    const group_limit& limit = seen.group.processors;
    if (limit.value != unlimited) {
        row.value += ", cpu.max " + std::to_string(limit.value / 1000) + "." +
                     std::to_string(limit.value % 1000 / 100);
        row.numbers.push_back(limit.value);
        row.unit = "count, thousandths";
        row.source = limit.source;
        whole = std::clamp<std::uint64_t>(limit.value / 1000, 1, whole);
    }
    if (seen.asked.loops <= whole) {
        row.says = fine("Up to " + std::to_string(whole) + " loops have a processor each.");
    } else {
        row.says = warning(
            std::to_string(seen.asked.loops) + " loops share " + std::to_string(whole) +
            ": each then waits for the others. Use --loops " + std::to_string(whole) + " at most.");
    }
    return row;
}

}  // namespace

void add_memory_rows(const machine& seen, std::vector<finding>& rows) {
    rows.push_back(memory_row(seen));
    rows.push_back(group_memory_row(seen));
    add_variable(seen,
                 {"memory", "vm/max_map_count", 1, "",
                  "Mappings that a process may have; the stack of a fiber with its guard is two.",
                  &judge_map_count, "Look whether /proc/sys is mounted."},
                 rows);
}

void add_thread_rows(const machine& seen, std::vector<finding>& rows) {
    rows.push_back(processors_row(seen));
    rows.push_back(pids_row(seen));
    rows.push_back(processes_row(seen));
    add_variable(
        seen,
        {"threads and processors", "kernel/threads-max", 1, "", "Threads of all programs together.",
         &judge_threads_max, "Look whether /proc/sys is mounted."},
        rows);
}

}  // namespace coro_doctor
