#include "doctor/process_census.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <optional>

#include <coro/base/error.hpp>
#include <coro/net/socket_census.hpp>
#include <coro/net/tcp_counters.hpp>

#include "doctor/rows.hpp"

namespace coro_doctor {
namespace {

using coro::net::tcp_socket;
using coro::net::tcp_state;

constexpr std::string_view own_user = "Run coro-doctor as its user, or as root.";

std::uint64_t milliseconds(coro::duration span) {
    const auto count = std::chrono::duration_cast<std::chrono::milliseconds>(span).count();
    return count > 0 ? static_cast<std::uint64_t>(count) : 0;
}

std::string seconds_text(coro::duration span) {
    const std::uint64_t tenths = milliseconds(span) / 100;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

finding row_of(std::string name, std::string meaning, std::string source) {
    finding row;
    row.section = "process";
    row.name = std::move(name);
    row.meaning = std::move(meaning);
    row.source = std::move(source);
    return row;
}

/// A zombie has given its memory and its files back, and a thread of the kernel never had any.
bool has_no_memory(const reading& status) {
    return field_of(status.text, "Threads") && !field_of(status.text, "VmRSS");
}

constexpr std::string_view no_program = "A zombie, or a thread of the kernel: it runs no program.";

finding descriptors_row(const machine& seen, const reading& status) {
    finding row = row_of("descriptors", "What the process has open, of its soft RLIMIT_NOFILE.",
                         seen.process_file("fd"));
    const auto names = seen.files.names_in(row.source);
    if ((!names || names->empty()) && has_no_memory(status)) {
        row.value = "none";
        row.says = note(std::string(no_program));
        return row;
    }
    if (!names) {
        row.value = "unknown (may not be read)";
        row.says = note(std::string(own_user));
        return row;
    }
    row.value = std::to_string(names->size());
    row.numbers = {names->size()};
    if (!seen.open_files) {
        row.says = note("Its limit cannot be read.");
        return row;
    }
    const std::uint64_t limit = seen.open_files->soft;
    row.value += " of " + limit_text(limit);
    row.numbers.push_back(limit);
    const std::uint64_t left = limit - std::min<std::uint64_t>(limit, names->size());
    if (left < limit / 50) {
        row.says = problem(
            "Nearly none is left: accept will fail with EMFILE. prlimit --nofile=N "
            "--pid " +
            std::to_string(seen.asked.process) + " raises it while it runs.");
    } else if (left < limit / 5) {
        row.says = warning("Less than a fifth is left.");
    } else {
        row.says = fine(limit_text(left) + " are left.");
    }
    return row;
}

finding threads_row(const machine& seen, const reading& status) {
    finding row = row_of("threads", "Loops, threads for blocking calls, and those of the program.",
                         seen.process_file("status"));
    if (!status.is_present()) {
        say_unreadable(row, status, "It has ended meanwhile.");
        return row;
    }
    const auto field = field_of(status.text, "Threads");
    const auto count = field ? parse_number(*field) : std::nullopt;
    if (!count) {
        say_garbage(row, status);
        return row;
    }
    row.value = std::to_string(*count);
    row.numbers = {*count};
    row.says = fine("A run has one for each loop, and up to run_options::blocking_threads.");
    return row;
}

finding memory_row(const machine& seen, const reading& status) {
    finding row =
        row_of("memory", "What it has in memory; the kernel's part of sockets is not in it.",
               seen.process_file("status"));
    row.unit = "bytes";
    if (!status.is_present()) {
        say_unreadable(row, status, "It has ended meanwhile.");
        return row;
    }
    if (has_no_memory(status)) {
        row.value = "none";
        row.says = note(std::string(no_program));
        return row;
    }
    const auto resident = kibibytes_of(status.text, "VmRSS");
    const auto own = kibibytes_of(status.text, "RssAnon");
    const auto swapped = kibibytes_of(status.text, "VmSwap");
    if (!resident || !own) {
        say_garbage(row, status);
        return row;
    }
    row.value = bytes_text(*resident) + ", its own " + bytes_text(*own);
    row.numbers = {*resident, *own};
    if (swapped.value_or(0) > 0) {
        row.says = note(bytes_text(*swapped) +
                        " are swapped out: a connection that speaks after a "
                        "long silence waits for the disk.");
    } else {
        row.says = fine("Nothing is swapped out.");
    }
    return row;
}

finding sockets_row(const machine& seen) {
    return row_of("sockets of TCP", "How many it has in each state.", seen.process_file("fd"));
}

/// The names of states and their counts, greatest number of the kernel last.
std::vector<std::pair<std::string, std::uint64_t>> count_states(
    const std::vector<tcp_socket>& sockets) {
    std::array<std::uint64_t, coro::net::tcp_states_end> counts{};
    for (const tcp_socket& each : sockets)
        ++counts.at(static_cast<std::size_t>(each.state));
    std::vector<std::pair<std::string, std::uint64_t>> named;
    for (std::size_t state = 0; state < counts.size(); ++state) {
        if (counts[state] == 0) continue;
        named.emplace_back(coro::net::to_text(static_cast<tcp_state>(state)), counts[state]);
    }
    return named;
}

finding listener_row(const tcp_socket& listener) {
    finding row =
        row_of("listener " + listener.local.to_string(),
               "Connections that wait to be accepted, of the limit of the queue.", "sock_diag(7)");
    const std::uint64_t waiting = listener.receive_queue;
    const std::uint64_t limit = listener.send_queue;
    row.value = std::to_string(waiting) + " of " + std::to_string(limit);
    row.numbers = {waiting, limit};
    if (waiting > limit) {
        row.says = problem(
            "Full: the kernel drops what comes now. The program does not accept, or "
            "not fast enough.");
    } else if (waiting > limit / 2) {
        row.says = warning("More than half: the program accepts too slowly for this burst.");
    } else {
        row.says = fine("There is room.");
    }
    return row;
}

coro::duration least_of(const tcp_socket& it) {
    return it.close_wait_at_least.value_or(coro::duration::zero());
}

/// Where the kernel does not tell it, the other bound is all that is known.
coro::duration most_of(const tcp_socket& it) {
    return std::max(it.close_wait_at_most.value_or(least_of(it)), least_of(it));
}

finding close_wait_row(const std::vector<tcp_socket>& sockets) {
    finding row =
        row_of("CLOSE_WAIT", "Connections that the peer has closed, and the process has not.",
               "sock_diag(7)");
    std::uint64_t count = 0;
    const tcp_socket* oldest = nullptr;
    for (const tcp_socket& each : sockets) {
        if (each.state != tcp_state::close_wait) continue;
        ++count;
        const auto age = [](const tcp_socket& of) {
            return std::pair(most_of(of), least_of(of));
        };
        if (oldest == nullptr || age(each) > age(*oldest)) oldest = &each;
    }
    row.value = std::to_string(count);
    row.numbers = {count};
    if (oldest == nullptr) {
        row.says = fine("Each end was noticed.");
        return row;
    }
    const coro::duration least = least_of(*oldest);
    row.unit = "count, ms, ms";
    row.value += ", the oldest for at least " + seconds_text(least);
    row.numbers.push_back(milliseconds(least));
    if (oldest->close_wait_at_most) {
        row.value += ", at most " + seconds_text(*oldest->close_wait_at_most);
        row.numbers.push_back(milliseconds(*oldest->close_wait_at_most));
    }
    const std::string which =
        "It is " + oldest->local.to_string() + " with " + oldest->remote.to_string() + ". ";
    const std::string leak =
        " handler does not read its end, or waits elsewhere: the task dump tells where, and so "
        "does guardian_limits::half_closed.";
    switch (judge_age(least, most_of(*oldest))) {
        case close_wait_age::young:
            row.says = note(which + "Young ones are usual: the answer may be under way.");
            break;
        case close_wait_age::perhaps_old:
            row.says = warning(which +
                               "It was silent before its end, or answers to keepalive probes "
                               "hide its age: ask again in a minute. If it is still there, a" +
                               leak);
            break;
        case close_wait_age::old:
            row.says = warning(which + "A" + leak);
            break;
    }
    return row;
}

finding overflow_row(int process) {
    finding row =
        row_of("listen overflows",
               "SYNs and ends of handshakes that met a full accept queue, in this namespace.",
               "/proc/" + std::to_string(process) + "/net/netstat");
    std::optional<std::uint64_t> count;
    try {
        count = coro::net::tcp_counters_of(process).listen_overflows;
    } catch (const coro::io_error&) {  // the row says that they are not known
    }
    if (!count) {
        row.value = "unknown (the kernel does not tell them)";
        row.says = note("Look at the queues of the listeners.");
        return row;
    }
    row.value = std::to_string(*count);
    row.numbers = {*count};
    row.says = *count == 0 ? fine("None since the namespace was made.")
                           : note(
                                 "Since the namespace was made. Ask twice: if it grows, a program "
                                 "accepts too slowly, or its backlog is short.");
    return row;
}

/// Listeners with SO_REUSEPORT have one address: all but the first get a number, so that each row
/// has a name of its own.
void add_listeners(const std::vector<tcp_socket>& sockets, std::vector<finding>& rows) {
    std::vector<std::string> names;
    for (const tcp_socket& each : sockets) {
        if (each.state != tcp_state::listening) continue;
        finding row = listener_row(each);
        const auto before = std::count(names.begin(), names.end(), row.name);
        names.push_back(row.name);
        if (before > 0) row.name += " (" + std::to_string(before + 1) + ")";
        rows.push_back(std::move(row));
    }
}

void add_sockets(const machine& seen, process_census& into) {
    finding row = sockets_row(seen);
    if (!seen.files.are_real()) {
        row.value = "unknown (not asked: --root)";
        row.says = note("Run coro-doctor on the machine itself.");
        into.rows.push_back(std::move(row));
        return;
    }
    try {
        const int number = static_cast<int>(seen.asked.process);
        const std::vector<tcp_socket> sockets = coro::net::list_tcp_sockets_of(number);
        into.sockets = count_states(sockets);
        for (const auto& [state, count] : into.sockets)
            row.value += (row.value.empty() ? "" : ", ") + state + " " + std::to_string(count);
        if (sockets.empty()) row.value = "none";
        row.numbers = {sockets.size()};
        row.says = fine("Those in TIME_WAIT belong to no process.");
        into.rows.push_back(std::move(row));
        add_listeners(sockets, into.rows);
        into.rows.push_back(close_wait_row(sockets));
        into.rows.push_back(overflow_row(number));
    } catch (const coro::io_error& error) {
        row.value = "unknown";
        row.says = note(std::string(error.what()) + ". ");
        const std::string process = std::to_string(seen.asked.process);
        if (error == std::errc::not_supported) {
            row.says.advice += "It is in another network namespace: nsenter -t " + process +
                               " -n coro-doctor --pid " + process + ".";
        } else if (error == std::errc::permission_denied) {
            row.says.advice += own_user;
        } else {
            row.says.advice += "ss(8) may know more.";
        }
        into.rows.push_back(std::move(row));
    }
}

}  // namespace

bool is_there(const system_files& files, std::uint64_t process) {
    const reading status = files.read("/proc/" + std::to_string(process) + "/status");
    return status.state != read_state::missing;
}

process_census examine_process(const machine& seen) {
    process_census made;
    const reading name = seen.files.read(seen.process_file("comm"));
    made.name = printable(name.text.substr(0, name.text.find('\n')));
    const reading status = seen.files.read(seen.process_file("status"));
    made.rows.push_back(descriptors_row(seen, status));
    made.rows.push_back(threads_row(seen, status));
    made.rows.push_back(memory_row(seen, status));
    add_sockets(seen, made);
    if (seen.asked.dump) add_dump_row(seen, made.rows);
    return made;
}

}  // namespace coro_doctor
