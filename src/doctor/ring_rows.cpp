// io_uring: whether a ring can be made here, by making one, and what its memory counts against.
#include <string>

#include <coro/base/error.hpp>
#include <coro/base/report.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/run.hpp>

#include "doctor/needs.hpp"
#include "doctor/rows.hpp"

namespace coro_doctor {
namespace {

coro::task<std::string> tell_poller() {
    co_return std::string(coro::poller_reason());
}

/// What the run of the probe reports would come between the rows.
void keep_report(const coro::report_event& event, void* user) noexcept {
    std::string& text = *static_cast<std::string*>(user);
    try {
        text += (text.empty() ? "" : " ") + std::string(event.text);
    } catch (...) {  // the row is then without it
    }
}

class quiet_reports {
public:
    explicit quiet_reports(std::string& into) noexcept {
        coro::set_report_hook(&keep_report, &into);
    }
    quiet_reports(const quiet_reports&) = delete;
    quiet_reports& operator=(const quiet_reports&) = delete;
    ~quiet_reports() { coro::set_report_hook(nullptr, nullptr); }
};

finding probe_row(const machine& seen) {
    finding row{.section = "io_uring",
                .name = "a ring of io_uring",
                .meaning =
                    "Whether a run of coro gets io_uring, tried by a run of coro-doctor itself.",
                .source = "io_uring_setup(2)"};
    if (!seen.files.are_real()) {
        row.value = "unknown (not tried: --root)";
        row.says = note("Run coro-doctor on the machine itself.");
        return row;
    }
    std::string reports;
    const quiet_reports quiet(reports);
    try {
        const std::string reason =
            coro::run(tell_poller(), {.poller = coro::poller_choice::io_uring,
                                      .signals = coro::signal_policy::leave,
                                      .spin = false,
                                      .raise_descriptor_limit = false});
        const bool complete = reason.ends_with("all features present");
        row.value = complete ? "yes, all features" : "yes, not all features";
        row.says = complete ? fine("Nothing is missing.")
                            : note(reason + ". It works; a newer kernel saves system calls.");
        if (!reports.empty()) row.says = note(reports);
    } catch (const coro::io_error& error) {
        row.value = "no";
        row.says = note(std::string("Runs take epoll instead, which costs about the same. ") +
                        error.what() + ".");
    }
    if (seen.asked.process != 0) {
        row.says.advice += " Process " + std::to_string(seen.asked.process) +
                           " may have another seccomp filter, and get another answer.";
    }
    return row;
}

verdict judge_disabled(const machine& /*seen*/, const std::vector<std::uint64_t>& numbers) {
    if (numbers[0] == 0) return fine("All processes may have rings.");
    if (numbers[0] == 1) {
        return note(
            "Only CAP_SYS_ADMIN and the group kernel.io_uring_group may have rings; others "
            "run on epoll.");
    }
    return note("Nobody may have rings; coro runs on epoll.");
}

finding memlock_row(const machine& seen) {
    finding row{
        .section = "io_uring",
        .name = "RLIMIT_MEMLOCK",
        .meaning = "Memory that all programs of a user may lock (ulimit -l); rings may count.",
        .source = seen.process_file("limits")};
    const reading file = seen.files.read(row.source);
    if (!file.is_present()) {
        say_unreadable(row, file, "Look whether /proc is mounted.");
        return row;
    }
    if (!seen.locked_memory) {
        row.value = "unknown (no line \"Max locked memory\")";
        row.says = warning("No kernel writes this: look what is mounted over /proc.");
        return row;
    }
    const auto [soft, hard] = *seen.locked_memory;
    const auto as_text = [](std::uint64_t bytes) {
        return bytes == unlimited ? std::string("unlimited") : bytes_text(bytes);
    };
    row.value = "soft " + as_text(soft) + ", hard " + as_text(hard);
    row.numbers = {soft, hard};
    row.unit = "bytes";
    const std::uint64_t needed = seen.asked.loops * locked_bytes_of_loop;
    const std::string what = std::to_string(seen.asked.loops) +
                             (seen.asked.loops == 1 ? " loop locks" : " loops lock") + " up to " +
                             bytes_text(needed);
    if (seen.may_lock_memory) {
        row.says = fine(what + "; it has CAP_IPC_LOCK, and is not bound.");
    } else if (soft >= needed) {
        row.says = fine(what + ".");
    } else {
        row.says = warning(what +
                           ". Beyond it a run makes smaller rings or takes epoll: ulimit -l, "
                           "LimitMEMLOCK= of systemd, --ulimit memlock= of a container.");
    }
    return row;
}

}  // namespace

void add_ring_rows(const machine& seen, std::vector<finding>& rows) {
    add_variable(seen,
                 {"io_uring", "kernel/io_uring_disabled", 1, "",
                  "Who may make rings: 0 everybody, 1 the privileged, 2 nobody.", &judge_disabled,
                  "Linux has this switch since 6.6."},
                 rows);
    if (rows.back().value == "unknown (no such file)") {
        rows.back().value = "no such switch";
        rows.back().says.level = severity::ok;
    }
    rows.push_back(probe_row(seen));
    rows.push_back(memlock_row(seen));
}

}  // namespace coro_doctor
