// Which counter of the kernel is which field.
#include <coro/net/tcp_counters.hpp>

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

#include <coro/base/error.hpp>

#include "net/proc_tables.hpp"

namespace coro { inline namespace v0 { namespace net {
namespace {

using detail::number_in_columns;
using detail::number_in_pairs;
using counter = std::optional<std::uint64_t> tcp_counts::*;

struct named_counter {
    counter which;
    std::string_view name;
};

constexpr named_counter of_netstat[] = {
    {&tcp_counts::listen_overflows, "ListenOverflows"},
    {&tcp_counts::listen_drops, "ListenDrops"},
    {&tcp_counts::syn_queue_drops, "TCPReqQFullDrop"},
    {&tcp_counts::syn_queue_cookies, "TCPReqQFullDoCookies"},
    {&tcp_counts::syncookies_sent, "SyncookiesSent"},
    {&tcp_counts::syncookies_received, "SyncookiesRecv"},
    {&tcp_counts::syncookies_failed, "SyncookiesFailed"},
    {&tcp_counts::backlog_drops, "TCPBacklogDrop"},
    {&tcp_counts::aborts_on_data, "TCPAbortOnData"},
    {&tcp_counts::aborts_on_close, "TCPAbortOnClose"},
    {&tcp_counts::aborts_on_memory, "TCPAbortOnMemory"},
    {&tcp_counts::aborts_on_timeout, "TCPAbortOnTimeout"},
    {&tcp_counts::aborts_on_linger, "TCPAbortOnLinger"},
    {&tcp_counts::aborts_failed, "TCPAbortFailed"},
    {&tcp_counts::time_waits_entered, "TW"},
    {&tcp_counts::time_waits_reused, "TWRecycled"},
    {&tcp_counts::time_wait_overflows, "TCPTimeWaitOverflow"},
    {&tcp_counts::fast_retransmits, "TCPFastRetrans"},
    {&tcp_counts::retransmission_timeouts, "TCPTimeouts"},
    {&tcp_counts::syn_retransmits, "TCPSynRetrans"},
    {&tcp_counts::delayed_acks, "DelayedACKs"},
    {&tcp_counts::keepalive_probes, "TCPKeepAlive"},
    {&tcp_counts::memory_pressures, "TCPMemoryPressures"},
};
constexpr named_counter of_snmp[] = {
    {&tcp_counts::active_opens, "ActiveOpens"},
    {&tcp_counts::passive_opens, "PassiveOpens"},
    {&tcp_counts::failed_opens, "AttemptFails"},
    {&tcp_counts::reset_connections, "EstabResets"},
    {&tcp_counts::resets_sent, "OutRsts"},
    {&tcp_counts::segments_received, "InSegs"},
    {&tcp_counts::segments_sent, "OutSegs"},
    {&tcp_counts::segments_retransmitted, "RetransSegs"},
    {&tcp_counts::bad_segments_received, "InErrs"},
    {&tcp_counts::established, "CurrEstab"},
};
constexpr named_counter of_sockstat[] = {
    {&tcp_counts::sockets_in_use, "inuse"},
    {&tcp_counts::orphans, "orphan"},
    {&tcp_counts::time_waits, "tw"},
    {&tcp_counts::memory_pages, "mem"},
};

tcp_counts read_counters(const std::string& folder, const char* verb) {
    const std::string netstat = detail::read_proc_file(folder + "/netstat", verb);
    const std::string snmp = detail::read_proc_file(folder + "/snmp", verb);
    const std::string sockstat = detail::read_proc_file(folder + "/sockstat", verb);
    tcp_counts found;
    for (const auto& [which, name] : of_netstat)
        found.*which = number_in_columns(netstat, "TcpExt", name);
    for (const auto& [which, name] : of_snmp) found.*which = number_in_columns(snmp, "Tcp", name);
    for (const auto& [which, name] : of_sockstat)
        found.*which = number_in_pairs(sockstat, "TCP", name);
    return found;
}

}  // namespace

tcp_counts tcp_counters() {
    constexpr const char* verb = "read tcp counters";
    detail::check_kernel_may_be_asked(verb);
    return read_counters("/proc/thread-self/net", verb);
}

tcp_counts tcp_counters_of(int pid) {
    constexpr const char* verb = "read tcp counters of a process";
    detail::check_kernel_may_be_asked(verb);
    detail::check_process(pid, verb);
    return read_counters("/proc/" + std::to_string(pid) + "/net", verb);
}

}}}  // namespace coro::v0::net
