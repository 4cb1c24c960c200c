// tcp_info: what the kernel knows of one TCP connection; accept_queue: of the queue of a listener.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <coro/base/detail/export.hpp>
#include <coro/base/time.hpp>

namespace coro { inline namespace v0 { namespace net {

/// The states of a TCP connection, with the numbers of the kernel. See: RFC 9293 §3.3.2.
enum class tcp_state : std::uint8_t {
    established = 1,   ///< both directions are open
    syn_sent = 2,      ///< connecting: our SYN is out
    syn_received = 3,  ///< the handshake lacks its last step
    fin_wait_1 = 4,    ///< we have ended our direction, which the peer has not acknowledged
    fin_wait_2 = 5,    ///< we have ended ours, the peer not yet its own
    time_wait = 6,     ///< over; the end that closed first keeps its port for a minute
    closed = 7,        ///< no connection
    close_wait = 8,    ///< the peer has ended its direction: our program has not closed yet
    last_ack = 9,      ///< both have ended; ours, the later one, is not acknowledged
    listening = 10,
    closing = 11,      ///< both have ended at once; ours is not acknowledged
};
/// Greater than the number of each state: for an array with a place for each.
inline constexpr std::size_t tcp_states_end = 12;

/// `ESTABLISHED`, `CLOSE_WAIT`, and the like; `UNKNOWN` for a number that is no state.
[[nodiscard]] CORO_EXPORT std::string_view to_text(tcp_state state) noexcept;

/// What the congestion control of the kernel does now.
enum class congestion_phase : std::uint8_t {
    open,      ///< nothing unusual
    disorder,  ///< duplicate acknowledgements have come: reordering or loss
    reduced,   ///< the window shrinks after a mark of ECN or a local congestion
    recovery,  ///< a loss was told by duplicate acknowledgements, and is sent again
    loss,      ///< a retransmission timer has fired
};

/// A snapshot of one connection. A field without a value is one that this kernel does not have, or
/// that has not been measured yet. In a simulation only state, rtt, min_rtt, the counts of bytes
/// and the times since something moved have one. Rates are bytes a second; segments are packets
/// with at most send_mss bytes of data. See: tcp(7) TCP_INFO, RFC 4898.
struct tcp_info {
    tcp_state state = tcp_state::closed;
    std::optional<congestion_phase> phase;

    // --- what the handshake has agreed on
    bool timestamps = false;      ///< RFC 7323
    bool selective_acks = false;  ///< RFC 2018
    bool window_scaling = false;  ///< RFC 7323; without it no window is larger than 64 KiB
    bool ecn = false;             ///< RFC 3168: the connection can carry marks of congestion
    bool ecn_seen = false;        ///< a packet with such a mark has come
    bool fast_open = false;       ///< data went with our SYN, and was acknowledged: RFC 7413
    std::optional<unsigned> send_window_shift;     ///< the peer's windows count in 2 to that
    std::optional<unsigned> receive_window_shift;  ///< ours do

    // --- time
    std::optional<duration> rtt;           ///< smoothed; its first value is of the handshake
    std::optional<duration> rtt_variance;  ///< the mean deviation of it
    std::optional<duration> min_rtt;       ///< the smallest of the last minutes
    std::optional<duration> receive_rtt;   ///< as a receiver estimates it; none before much data
    std::optional<duration> retransmission_timeout;
    std::optional<duration> since_data_sent;      ///< none before the first byte
    std::optional<duration> since_data_received;  ///< or since the handshake
    /// Since a segment has come that acknowledges, as nearly all do. A simulation
    /// knows only of the peer's end.
    std::optional<duration> since_ack_received;

    // --- segments and windows
    std::optional<std::uint32_t> send_mss;        ///< bytes of data in a segment to the peer
    std::optional<std::uint32_t> receive_mss;     ///< the kernel's guess of the peer's
    std::optional<std::uint32_t> advertised_mss;  ///< what we have told the peer
    std::optional<std::uint32_t> path_mtu;        ///< bytes of a packet with its headers
    std::optional<std::uint32_t> congestion_window;  ///< in segments
    /// In segments; none as long as slow start has no end in sight.
    std::optional<std::uint32_t> slow_start_threshold;
    std::optional<std::uint32_t> send_window;     ///< bytes that the peer has room for
    std::optional<std::uint32_t> receive_window;  ///< bytes that we have told the peer of
    std::optional<std::uint32_t> receive_space;   ///< bytes: what our window is adapted to

    // --- segments under way
    std::optional<std::uint32_t> unacked;        ///< sent and not acknowledged
    std::optional<std::uint32_t> sacked;         ///< of these, selectively acknowledged
    std::optional<std::uint32_t> lost;           ///< of these, taken for lost
    std::optional<std::uint32_t> retransmitted;  ///< of these, sent again
    std::optional<std::uint32_t> reordering;     ///< packets may come so far out of order
    /// Timeouts in a row without an answer; tcp_retries2 of them end the connection.
    std::optional<unsigned> timeouts_in_row;
    std::optional<unsigned> unanswered_probes;   ///< of a closed window, or of keepalive

    // --- totals of the connection; a simulation counts data only, no SYN and no end
    std::optional<std::uint64_t> bytes_sent;           ///< of data, those sent again too
    std::optional<std::uint64_t> bytes_acked;          ///< the SYN of who connects counts as one
    std::optional<std::uint64_t> bytes_received;       ///< read or not; an end counts as one
    std::optional<std::uint64_t> bytes_retransmitted;
    std::optional<std::uint64_t> unsent_bytes;         ///< in the send buffer, never sent yet
    std::optional<std::uint32_t> segments_sent;
    std::optional<std::uint32_t> segments_received;
    std::optional<std::uint32_t> data_segments_sent;
    std::optional<std::uint32_t> data_segments_received;
    std::optional<std::uint32_t> segments_retransmitted;
    std::optional<std::uint32_t> segments_delivered;         ///< acknowledged, in any order
    std::optional<std::uint32_t> segments_delivered_marked;  ///< of these, with a mark of ECN
    std::optional<std::uint32_t> duplicates_received;  ///< told by the peer (RFC 2883): not lost
    std::optional<std::uint32_t> reorderings_seen;
    std::optional<std::uint32_t> out_of_order_received;
    std::optional<std::uint32_t> retransmission_timeouts;  ///< how often the timer has fired

    // --- speed
    std::optional<std::uint64_t> pacing_rate;      ///< none: no limit
    std::optional<std::uint64_t> max_pacing_rate;  ///< none: no limit
    std::optional<std::uint64_t> delivery_rate;    ///< as last measured
    std::optional<bool> delivery_app_limited;      ///< the program gave no more to send
    std::optional<duration> busy;                  ///< data was under way or waiting, in all
    std::optional<duration> receive_window_limited;  ///< of that: the peer had no room
    std::optional<duration> send_buffer_limited;     ///< of that: our send buffer was too small
};

/// The queue of a listener: connections whose handshake is over, and that nobody has accepted.
struct accept_queue {
    std::uint32_t waiting = 0;
    /// The backlog, cut at net.core.somaxconn. The kernel holds one connection more than that, and
    /// drops what comes beyond. A client that was dropped asks again, tcp_syn_retries times.
    std::uint32_t limit = 0;

    [[nodiscard]] bool is_full() const noexcept { return waiting > limit; }
};

}}}  // namespace coro::v0::net
