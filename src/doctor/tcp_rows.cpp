// The kernel variables of TCP, each with its judge. ip-sysctl.rst of the kernel and tcp(7) say what
// they mean.
#include <algorithm>
#include <array>

#include <coro/net/socket_options.hpp>

#include "doctor/rows.hpp"

namespace coro_doctor {
namespace {

using numbers = std::vector<std::uint64_t>;

constexpr std::string_view no_sysctl = "Look whether /proc/sys is mounted.";
constexpr std::string_view host_only =
    "Only the first network namespace of the host shows it: look there.";

constexpr std::uint64_t default_backlog = coro::net::listen_options{}.backlog;

std::string text(std::uint64_t number) {
    return std::to_string(number);
}

// ---- accepting ----

verdict judge_somaxconn(const machine& seen, const numbers& of) {
    const std::string backlog = "coro's default backlog of " + text(default_backlog);
    if (of[0] >= default_backlog) {
        return fine("It holds " + backlog + ". A greater listen_options::backlog needs more.");
    }
    return warning("It cuts " + backlog + " to " + text(of[0]) + ", so a burst of clients " +
                   "waits a second or longer: " +
                   seen.how_to_set("net.core.somaxconn", text(default_backlog)) + ".");
}

verdict judge_syn_backlog(const machine& seen, const numbers& of) {
    const auto cookies = seen.variable("net/ipv4/tcp_syncookies");
    if (cookies && (*cookies)[0] != 0) {
        return fine(
            "With tcp_syncookies on it binds nobody: the backlog of the listener is the "
            "limit.");
    }
    if (of[0] >= default_backlog) return fine("It is not below the accept queue.");
    return warning("With tcp_syncookies off, clients that are new to this host are dropped from " +
                   text(of[0] - of[0] / 4) + " on: " +
                   seen.how_to_set("net.ipv4.tcp_max_syn_backlog", text(default_backlog)) + ".");
}

verdict judge_syncookies(const machine& seen, const numbers& of) {
    if (of[0] == 1) return fine("Used only when the queue is full.");
    if (of[0] == 0) {
        return warning("Off: a flood of SYNs keeps other clients out. " +
                       seen.how_to_set("net.ipv4.tcp_syncookies", "1") + ".");
    }
    return note(
        "Always: connections lose options of the handshake where timestamps are off. 1 uses "
        "them only when they are needed.");
}

verdict judge_abort_on_overflow(const machine& seen, const numbers& of) {
    if (of[0] == 0) {
        return fine(
            "Off: the client's side is established already, and its data is sent again "
            "until there is room.");
    }
    return warning("On: a short burst becomes errors at the clients. " +
                   seen.how_to_set("net.ipv4.tcp_abort_on_overflow", "0") + ".");
}

verdict judge_netdev_backlog(const machine& seen, const numbers& of) {
    if (of[0] >= 1000) {
        return fine(
            "Raise it when the second column of /proc/net/softnet_stat, dropped packets, "
            "grows.");
    }
    return note("Below the kernel's default of 1000: " +
                seen.how_to_set("net.core.netdev_max_backlog", "1000") + ".");
}

// ---- ports and closing ----

verdict judge_port_range(const machine& seen, const numbers& of) {
    if (of[0] > of[1] || of[1] > 65535) return warning("This is no range of ports.");
    const std::uint64_t ports = of[1] - of[0] + 1;
    const std::string each = text(ports) + " ports for each local address and destination. ";
    if (seen.asked.connections <= ports) {
        return fine(each + "Accepted connections take none.");
    }
    const std::uint64_t addresses = (seen.asked.connections + ports - 1) / ports;
    return note(each + connections_text(seen) + " that go out to one destination need " +
                text(addresses) + " local addresses (connect_options::local). Accepted ones take " +
                "none.");
}

verdict judge_tw_reuse(const machine& /*seen*/, const numbers& of) {
    if (of[0] == 1) {
        return fine(
            "On: a new outgoing connection may take a port whose TIME_WAIT is a second old, "
            "where both sides have timestamps.");
    }
    const std::string ways = "It concerns who connects, never who accepts. ";
    if (of[0] == 2) return fine("For the loopback only, the default. " + ways);
    return fine("Off. " + ways + "A client of short connections gains by 1.");
}

verdict judge_fin_timeout(const machine& /*seen*/, const numbers& of) {
    const std::string what = "It is no limit of TIME_WAIT, which the kernel fixes at 60 s.";
    if (of[0] <= 120) return fine(what);
    return note("Longer than the default of 60 s: peers that never close keep memory here. " +
                what);
}

verdict judge_tw_buckets(const machine& seen, const numbers& of) {
    if (of[0] >= seen.asked.connections) {
        return fine("All " + connections_text(seen) + " could be in TIME_WAIT at once.");
    }
    return note("If the server closes all " + connections_text(seen) + " at once, the kernel " +
                "forgets those beyond it without TIME_WAIT. Late segments may then meet a reset.");
}

verdict judge_orphans(const machine& seen, const numbers& of) {
    const std::string cost = " Each may hold up to 64 KiB of unsent data.";
    if (of[0] >= seen.asked.connections) return fine("Enough for the end of a program." + cost);
    return note("A program that ends with " + connections_text(seen) + " resets those beyond " +
                text(of[0]) + " that have unsent data." + cost);
}

// ---- silence ----

verdict judge_keepalive(const machine& seen, const numbers& of) {
    const auto interval = seen.variable("net/ipv4/tcp_keepalive_intvl");
    const auto probes = seen.variable("net/ipv4/tcp_keepalive_probes");
    const std::string coro = "coro's listeners set their own (listen_options::dead_peer, 60 s).";
    if (!interval || !probes || of[0] > 1'000'000 || (*interval)[0] > 1'000'000 ||
        (*probes)[0] > 1000) {
        return fine(coro);
    }
    const std::uint64_t all = of[0] + (*interval)[0] * (*probes)[0];
    return fine("With SO_KEEPALIVE alone a dead peer is noticed after " + text(all) + " s. " +
                coro);
}

verdict judge_keepalive_part(const machine& /*seen*/, const numbers& /*of*/) {
    return fine("stream_options::keepalive sets it for one connection.");
}

verdict judge_retries(const machine& /*seen*/, const numbers& of) {
    if (of[0] >= 8) {
        return fine(
            "15 are some 15 minutes. stream_options::user_timeout sets a limit for one "
            "connection.");
    }
    return note(
        "Few: a short outage of the network ends connections. RFC 1122 asks for 100 s, "
        "which are 8.");
}

verdict judge_syn_retries(const machine& /*seen*/, const numbers& of) {
    return fine((of[0] == 6 ? std::string("6 are about two minutes. ") : std::string()) +
                "A connect that must end sooner has a with_timeout around it.");
}

// ---- buffers ----

verdict judge_buffer(const machine& seen, const numbers& of, std::string_view name,
                     std::string_view usual) {
    constexpr std::uint64_t small = 256 * 1024;
    if (of[0] > of[2] || of[1] > of[2]) return warning("Least and default are not above the most.");
    if (of[2] < small) {
        return warning("At a round trip of 100 ms a connection moves at most " +
                       bytes_text(of[2] * 10) + " a second. " +
                       seen.how_to_set(name, usual) + ".");
    }
    return fine("A connection moves at most the last one in each round trip: " +
                bytes_text(of[2] * 10) + " a second at 100 ms. Idle ones hold no buffer.");
}

verdict judge_rmem(const machine& seen, const numbers& of) {
    return judge_buffer(seen, of, "net.ipv4.tcp_rmem", "'4096 131072 6291456'");
}

verdict judge_wmem(const machine& seen, const numbers& of) {
    return judge_buffer(seen, of, "net.ipv4.tcp_wmem", "'4096 16384 4194304'");
}

verdict judge_tcp_mem(const machine& seen, const numbers& of) {
    if (of[0] > of[1] || of[1] > of[2] || of[2] > unlimited / seen.page_bytes)
        return warning("The three must grow, and be numbers of pages.");
    const std::uint64_t each = of[1] * seen.page_bytes / seen.asked.connections;
    const std::string share = "From the second one on the kernel saves: " + bytes_text(each) +
                              " for each of " + connections_text(seen) + ".";
    if (each >= 4 * seen.page_bytes) return fine(share + " Idle ones hold none.");
    const std::string remedy = " That is little where many are busy at once; more memory, or " +
                               seen.how_to_set("net.ipv4.tcp_mem", "'LOW PRESSURE HIGH'") + ".";
    return each >= seen.page_bytes ? note(share + remedy) : warning(share + remedy);
}

constexpr std::array variables{
    variable_row{"accepting", "net/core/somaxconn", 1, "",
                 "The longest accept queue of a listener; the kernel cuts its backlog here.",
                 &judge_somaxconn, no_sysctl},
    variable_row{"accepting", "net/ipv4/tcp_max_syn_backlog", 1, "",
                 "Handshakes in their midst that a listener remembers where syncookies are off.",
                 &judge_syn_backlog, no_sysctl},
    variable_row{"accepting", "net/ipv4/tcp_syncookies", 1, "",
                 "Answers SYNs without memory when the queue of handshakes is full.",
                 &judge_syncookies, no_sysctl},
    variable_row{"accepting", "net/ipv4/tcp_abort_on_overflow", 1, "",
                 "Whether a full accept queue answers the end of a handshake by a reset.",
                 &judge_abort_on_overflow, no_sysctl},
    variable_row{"accepting", "net/core/netdev_max_backlog", 1, "",
                 "Packets that wait for a processor between its driver and the protocols.",
                 &judge_netdev_backlog, host_only},
    variable_row{"ports and closing", "net/ipv4/ip_local_port_range", 2, "",
                 "The ports from which outgoing connections leave.", &judge_port_range, no_sysctl},
    variable_row{"ports and closing", "net/ipv4/tcp_tw_reuse", 1, "",
                 "Whether an outgoing connection may take a port that is in TIME_WAIT.",
                 &judge_tw_reuse, no_sysctl},
    variable_row{"ports and closing", "net/ipv4/tcp_fin_timeout", 1, " s",
                 "How long a closed socket waits in FIN_WAIT_2 for the peer's FIN.",
                 &judge_fin_timeout, no_sysctl},
    variable_row{"ports and closing", "net/ipv4/tcp_max_tw_buckets", 1, "",
                 "Connections in TIME_WAIT at once.", &judge_tw_buckets, no_sysctl},
    variable_row{"ports and closing", "net/ipv4/tcp_max_orphans", 1, "",
                 "Sockets that were closed and still have something to send.", &judge_orphans,
                 host_only},
    variable_row{"silence", "net/ipv4/tcp_keepalive_time", 1, " s",
                 "Silence before the first probe of a connection with SO_KEEPALIVE.",
                 &judge_keepalive, no_sysctl},
    variable_row{"silence", "net/ipv4/tcp_keepalive_intvl", 1, " s", "The time between two probes.",
                 &judge_keepalive_part, no_sysctl},
    variable_row{"silence", "net/ipv4/tcp_keepalive_probes", 1, "",
                 "Unanswered probes that end a connection.", &judge_keepalive_part, no_sysctl},
    variable_row{"silence", "net/ipv4/tcp_retries2", 1, "",
                 "How often unacknowledged data is sent again before the connection ends.",
                 &judge_retries, no_sysctl},
    variable_row{"silence", "net/ipv4/tcp_syn_retries", 1, "",
                 "How often connect(2) sends its SYN again before it ends with ETIMEDOUT.",
                 &judge_syn_retries, no_sysctl},
    variable_row{"buffers", "net/ipv4/tcp_rmem", 3, " bytes",
                 "Receive buffer of a connection: least, default, most.", &judge_rmem, no_sysctl},
    variable_row{"buffers", "net/ipv4/tcp_wmem", 3, " bytes",
                 "Send buffer of a connection: least, default, most.", &judge_wmem, no_sysctl},
    variable_row{"buffers", "net/ipv4/tcp_mem", 3, " pages",
                 "Buffers of all connections together: no care, pressure, refusal.", &judge_tcp_mem,
                 host_only},
};

void add_congestion_row(const machine& seen, std::vector<finding>& rows) {
    finding row{.section = "buffers",
                .name = "net.ipv4.tcp_congestion_control",
                .meaning = "The algorithm that decides how much may be on its way.",
                .source = "/proc/sys/net/ipv4/tcp_congestion_control"};
    const reading file = seen.files.read(row.source);
    const std::string known =
        seen.files.read("/proc/sys/net/ipv4/tcp_available_congestion_control").text;
    const std::vector<std::string_view> names = words_of(file.text);
    const std::vector<std::string_view> available = words_of(known);
    if (!file.is_present()) {
        say_unreadable(row, file, no_sysctl);
    } else if (names.size() != 1 || printable(names[0]) != names[0]) {
        say_garbage(row, file);
    } else {
        row.value = names[0];
        std::string list;
        for (const std::string_view name : available)
            list += (list.empty() ? "" : " ") + printable(name);
        row.value += list.empty() ? "" : " (available: " + list + ")";
        row.says = fine(
            "cubic is the default. bbr may be faster where packets are lost without "
            "congestion, as over radio.");
        if (names[0] == "reno") {
            row.says = note(
                "cubic uses long fat paths better: " + seen.how_to_set(row.name, "cubic") + ".");
        }
    }
    rows.push_back(std::move(row));
}

verdict judge_conntrack(const machine& seen, const numbers& of) {
    const auto counted = seen.variable("net/netfilter/nf_conntrack_count");
    const std::uint64_t used = counted ? (*counted)[0] : 0;
    const std::uint64_t left = of[0] - std::min(of[0], used);
    const std::string now = text(used) + " are tracked now. ";
    if (left >= seen.asked.connections) return fine(now + connections_text(seen) + " fit.");
    const std::string remedy =
        seen.how_to_set("net.netfilter.nf_conntrack_max", text(used + 2 * seen.asked.connections)) +
        ", or no tracking for this port.";
    if (used == 0) {
        return note("Nothing is tracked now. If it begins, " + connections_text(seen) +
                    " do not fit: " + remedy);
    }
    return problem(now + connections_text(seen) + " do not fit, and the kernel drops packets of " +
                   "new ones (\"table full\"): " + remedy);
}

/// What we read is of our own network namespace, and the process may have another.
void say_if_elsewhere(const machine& seen, finding& row) {
    if (!seen.is_in_other_network) return;
    const std::string process = text(seen.asked.process);
    row.value = "unknown (another network namespace)";
    row.numbers.clear();
    row.says = note("Process " + process + " has its own: nsenter -t " + process +
                    " -n coro-doctor --pid " + process + " --connections " +
                    text(seen.asked.connections) + ".");
}

}  // namespace

void add_tcp_rows(const machine& seen, std::vector<finding>& rows) {
    for (const variable_row& row : variables) {
        add_variable(seen, row, rows);
        // The host's own hold for all namespaces.
        if (row.when_missing != host_only) say_if_elsewhere(seen, rows.back());
    }
    add_congestion_row(seen, rows);
    say_if_elsewhere(seen, rows.back());
    add_variable(seen,
                 {"buffers", "net/netfilter/nf_conntrack_max", 1, "",
                  "Connections that the firewall follows, if it follows any.", &judge_conntrack,
                  "No tracking is loaded here. In a container the host may have some."},
                 rows);
    if (rows.back().value == "unknown (no such file)") {
        rows.back().value = "not loaded";
        rows.back().says.level = severity::ok;
    }
    say_if_elsewhere(seen, rows.back());
}

}  // namespace coro_doctor
