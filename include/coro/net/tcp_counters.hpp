// tcp_counters(): what the TCP of a network namespace has counted, for all of its sockets together.
#pragma once

#include <cstdint>
#include <optional>

#include <coro/base/detail/export.hpp>

namespace coro { inline namespace v0 { namespace net {

/// The counters of TCP in a network namespace since it was made, of IPv4 and IPv6 together, and how
/// many sockets there are now. Two snapshots differ by what has happened in between. A field
/// without a value is one that this kernel does not have.
/// See: proc(5), /proc/net/netstat, /proc/net/snmp and /proc/net/sockstat; the names behind the
/// fields are those that stand there. RFC 4022 defines those of snmp.
struct tcp_counts {
    // --- clients that a listener has not taken
    /// A SYN, or the last ACK of a handshake, met a full accept queue: ListenOverflows.
    std::optional<std::uint64_t> listen_overflows;
    /// SYNs and handshakes dropped at a listener for any reason, the former included: ListenDrops.
    std::optional<std::uint64_t> listen_drops;
    /// SYNs dropped because the queue of handshakes was full: TCPReqQFullDrop.
    std::optional<std::uint64_t> syn_queue_drops;
    /// SYNs answered with a cookie because that queue was full: TCPReqQFullDoCookies.
    std::optional<std::uint64_t> syn_queue_cookies;
    std::optional<std::uint64_t> syncookies_sent;      ///< SyncookiesSent
    std::optional<std::uint64_t> syncookies_received;  ///< SyncookiesRecv
    std::optional<std::uint64_t> syncookies_failed;    ///< SyncookiesFailed
    std::optional<std::uint64_t> backlog_drops;  ///< segments for a busy socket: TCPBacklogDrop

    // --- how connections begin and end
    std::optional<std::uint64_t> active_opens;      ///< connects: ActiveOpens
    std::optional<std::uint64_t> passive_opens;     ///< accepted by the kernel: PassiveOpens
    std::optional<std::uint64_t> failed_opens;      ///< AttemptFails
    std::optional<std::uint64_t> reset_connections;  ///< established ones that a reset: EstabResets
    std::optional<std::uint64_t> resets_sent;       ///< OutRsts
    std::optional<std::uint64_t> aborts_on_data;    ///< bytes came for a closed one: TCPAbortOnData
    std::optional<std::uint64_t> aborts_on_close;   ///< closed with unread bytes: TCPAbortOnClose
    std::optional<std::uint64_t> aborts_on_memory;  ///< too many orphans: TCPAbortOnMemory
    std::optional<std::uint64_t> aborts_on_timeout;  ///< no answer for too long: TCPAbortOnTimeout
    std::optional<std::uint64_t> aborts_on_linger;  ///< closed with a linger of 0: TCPAbortOnLinger
    std::optional<std::uint64_t> aborts_failed;     ///< no memory for the reset: TCPAbortFailed
    /// Sockets that have entered TIME_WAIT, for longer than 4 s: TW.
    std::optional<std::uint64_t> time_waits_entered;
    /// Reused by a new connection of ours (tcp_tw_reuse): TWRecycled.
    std::optional<std::uint64_t> time_waits_reused;
    /// Not entered, because there were net.ipv4.tcp_max_tw_buckets: TCPTimeWaitOverflow.
    std::optional<std::uint64_t> time_wait_overflows;

    // --- segments
    std::optional<std::uint64_t> segments_received;       ///< InSegs
    std::optional<std::uint64_t> segments_sent;           ///< OutSegs, without the next ones
    std::optional<std::uint64_t> segments_retransmitted;  ///< RetransSegs
    std::optional<std::uint64_t> bad_segments_received;   ///< InErrs
    std::optional<std::uint64_t> fast_retransmits;        ///< TCPFastRetrans
    std::optional<std::uint64_t> retransmission_timeouts;  ///< TCPTimeouts
    std::optional<std::uint64_t> syn_retransmits;         ///< SYNs and their answers: TCPSynRetrans
    std::optional<std::uint64_t> delayed_acks;            ///< DelayedACKs
    std::optional<std::uint64_t> keepalive_probes;        ///< TCPKeepAlive
    std::optional<std::uint64_t> memory_pressures;        ///< TCPMemoryPressures

    // --- sockets now
    std::optional<std::uint64_t> established;     ///< and in CLOSE_WAIT: CurrEstab
    std::optional<std::uint64_t> sockets_in_use;  ///< of IPv4: TCP inuse
    /// Closed by their program, and not over yet; of all namespaces: TCP orphan.
    std::optional<std::uint64_t> orphans;
    std::optional<std::uint64_t> time_waits;      ///< in TIME_WAIT: TCP tw
    /// Of all namespaces, in pages: TCP mem; net.ipv4.tcp_mem limits it.
    std::optional<std::uint64_t> memory_pages;
};

/// Returns the counters of the network namespace of this thread. Reads three files, synchronously:
/// for reports and tools, not for each message. Also outside of run().
/// Throws: io_error (what opening a file of /proc/thread-self/net ends with; not_supported in a
/// simulation, whose network the kernel does not count).
[[nodiscard]] CORO_EXPORT tcp_counts tcp_counters();
/// The same for the network namespace of the process `pid`.
/// Throws: also io_error (no_such_process).
[[nodiscard]] CORO_EXPORT tcp_counts tcp_counters_of(int pid);

}}}  // namespace coro::v0::net
