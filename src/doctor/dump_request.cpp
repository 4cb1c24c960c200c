// The one thing that the doctor does to a process: it sends the signal of run_options::dump_signal.
#include <cerrno>
#include <string>
#include <system_error>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "doctor/process_census.hpp"
#include "doctor/rows.hpp"

namespace coro_doctor {
namespace {

/// A run that has a dump signal has a thread of this name, with the number of the signal behind it.
constexpr std::string_view thread_prefix = "coro-dump-";
constexpr std::uint64_t most_signals = 64;

/// 0 when the process has none.
unsigned dump_signal_of(const machine& seen) {
    const auto threads = seen.files.names_in(seen.process_file("task"));
    if (!threads) return 0;
    for (const std::string& thread : *threads) {
        const std::string name =
            seen.files.read(seen.process_file("task/" + thread + "/comm")).text;
        if (!name.starts_with(thread_prefix)) continue;
        const auto number = parse_number(std::string_view(name).substr(thread_prefix.size()));
        if (number && *number >= 1 && *number <= most_signals)
            return static_cast<unsigned>(*number);
    }
    return 0;
}

/// Whether a handler waits for it: without one the signal could end the process. The mask is
/// hexadecimal, bit 0 stands for signal 1: proc_pid_status(5), SigCgt.
bool is_caught(const machine& seen, unsigned signal) {
    const std::string status = seen.files.read(seen.process_file("status")).text;
    const auto mask = field_of(status, "SigCgt");
    if (!mask) return false;
    const std::size_t digits_behind = (signal - 1) / 4;
    if (digits_behind >= mask->size()) return false;
    const char digit = (*mask)[mask->size() - 1 - digits_behind];
    const int value = digit >= '0' && digit <= '9'   ? digit - '0'
                      : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                                                     : 0;
    return (value >> ((signal - 1) % 4) & 1) != 0;
}

/// The process that had the number when this was made. Another that gets the number later is never
/// signalled: pidfd_open(2).
class held_process {
public:
    explicit held_process(const machine& seen) {
        if (!seen.files.are_real()) return;  // a copy of another machine: its numbers are not ours
        descriptor_ =
            static_cast<int>(::syscall(SYS_pidfd_open, static_cast<pid_t>(seen.asked.process), 0u));
        if (descriptor_ < 0) error_ = errno;
    }
    held_process(const held_process&) = delete;
    held_process& operator=(const held_process&) = delete;
    ~held_process() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    /// Returns 0, or the number of an error.
    [[nodiscard]] int send(unsigned signal) const noexcept {
        if (descriptor_ < 0) return error_;
        const long sent = ::syscall(SYS_pidfd_send_signal, descriptor_, static_cast<int>(signal),
                                    nullptr, 0u);
        return sent == 0 ? 0 : errno;
    }

private:
    int descriptor_ = -1;
    int error_ = 0;
};

verdict advice_for(int error, unsigned signal, std::uint64_t process) {
    const std::string number = std::to_string(process);
    if (error == ESRCH) return note("It has ended meanwhile: look at ps(1).");
    if (error == ENOSYS) {
        return note("Linux has what this takes since 5.3: kill -" + std::to_string(signal) + " " +
                    number + " asks it.");
    }
    return note("Run coro-doctor as its user, or as root.");
}

}  // namespace

void add_dump_row(const machine& seen, std::vector<finding>& rows) {
    finding row;
    row.section = "process";
    row.name = "task dump";
    row.meaning =
        "What each task of the process waits for, which the process writes to its stderr.";
    row.source = seen.process_file("task");
    const held_process held(seen);  // before it is looked at: what is checked is what is signalled
    const unsigned signal = dump_signal_of(seen);
    if (signal == 0) {
        row.value = "not asked for (no dump signal)";
        row.says = fine("A program of coro with run_options::dump_signal can be asked.");
    } else if (!is_caught(seen, signal)) {
        row.value = "not asked for (no handler)";
        row.says = note("A thread is named after signal " + std::to_string(signal) +
                        ", but the process does not catch it, and it could end.");
    } else if (!seen.files.are_real()) {
        row.value = "not asked for (--root)";
        row.says = note("Run coro-doctor on the machine itself.");
    } else if (const int error = held.send(signal); error != 0) {
        row.value = "not asked for (" + std::generic_category().message(error) + ")";
        row.says = advice_for(error, signal, seen.asked.process);
    } else {
        row.unit = "number of a signal";
        row.value = "asked for by signal " + std::to_string(signal);
        row.numbers = {signal};
        const auto place = seen.files.link(seen.process_file("fd/2"));
        row.says = fine("It is written to the stderr of the process" +
                        (place ? ", " + printable(*place) : std::string()) + ".");
    }
    rows.push_back(std::move(row));
}

}  // namespace coro_doctor
