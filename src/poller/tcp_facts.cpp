// What the kernel knows of a TCP connection and of the queue of a listener.
#include "poller/tcp_facts.hpp"

#include <linux/tcp.h>  // not netinet/tcp.h: its tcp_info ends before the counts of bytes
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>

#include <coro/net/tcp_info.hpp>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Not ours.
using kernel_tcp_info = ::tcp_info;

// What later kernels have behind the record of Linux 6.1; their places are fixed for ever.
constexpr std::size_t place_of_receive_window = 232;  // Linux 6.2
constexpr std::size_t place_of_total_timeouts = 240;  // Linux 6.7
static_assert(offsetof(kernel_tcp_info, tcpi_snd_wnd) + sizeof(__u32) == place_of_receive_window);
/// The kernel cuts what it writes at the room that it is given.
constexpr std::size_t record_size = 256;

constexpr std::uint32_t no_threshold = 0x7fffffff;  // TCP_INFINITE_SSTHRESH
constexpr std::uint32_t no_rtt = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t no_rate = std::numeric_limits<std::uint64_t>::max();

/// A record that may end before any of its members.
class record {
public:
    record(const void* from, std::size_t size) noexcept : size_(std::min(size, record_size)) {
        std::memcpy(bytes_.data(), from, size_);
        std::memcpy(&raw, bytes_.data(), std::min(size_, sizeof raw));
    }

    template <typename Number>
    [[nodiscard]] std::optional<Number> at(std::size_t place) const noexcept {
        if (place + sizeof(Number) > size_) return std::nullopt;
        Number value{};
        std::memcpy(&value, bytes_.data() + place, sizeof value);
        return value;
    }
    template <typename Number>
    [[nodiscard]] std::optional<Number> get(Number kernel_tcp_info::*member) const noexcept {
        const auto* const first = reinterpret_cast<const std::byte*>(&raw);
        const auto* const found = reinterpret_cast<const std::byte*>(&(raw.*member));
        if (static_cast<std::size_t>(found - first) + sizeof(Number) > size_) return std::nullopt;
        return raw.*member;
    }
    template <typename Number>
    [[nodiscard]] std::optional<std::uint64_t> wide(
        Number kernel_tcp_info::*member) const noexcept {
        const std::optional<Number> value = get(member);
        return value ? std::optional<std::uint64_t>(*value) : std::nullopt;
    }
    /// Without a value too where the record says `none`.
    template <typename Number>
    [[nodiscard]] std::optional<std::uint64_t> but(Number kernel_tcp_info::*member,
                                                   std::uint64_t none) const noexcept {
        const std::optional<std::uint64_t> value = wide(member);
        return value && *value != none ? value : std::nullopt;
    }
    template <typename Unit, typename Number>
    [[nodiscard]] std::optional<duration> span(Number kernel_tcp_info::*member) const noexcept {
        const std::optional<std::uint64_t> value = wide(member);
        if (!value) return std::nullopt;
        constexpr auto most = static_cast<std::uint64_t>(
            std::chrono::duration_cast<Unit>(duration::max()).count());
        return duration(Unit(static_cast<typename Unit::rep>(std::min(*value, most))));
    }
    template <typename Number>
    [[nodiscard]] std::optional<duration> micros(Number kernel_tcp_info::*member) const noexcept {
        return span<std::chrono::microseconds>(member);
    }
    template <typename Number>
    [[nodiscard]] std::optional<duration> millis(Number kernel_tcp_info::*member) const noexcept {
        return span<std::chrono::milliseconds>(member);
    }
    template <typename Number>
    [[nodiscard]] std::optional<duration> measured(Number kernel_tcp_info::*member,
                                                   std::uint32_t none) const noexcept {
        const std::optional<Number> value = get(member);
        if (!value || *value == none) return std::nullopt;
        return micros(member);
    }

    kernel_tcp_info raw{};

private:
    std::array<std::byte, record_size> bytes_{};
    std::size_t size_;
};

std::optional<std::uint32_t> narrow(std::optional<std::uint64_t> value) noexcept {
    return value ? std::optional<std::uint32_t>(static_cast<std::uint32_t>(*value)) : std::nullopt;
}

net::tcp_state state_of(std::uint8_t number) noexcept {
    // Linux has a state of its own for the socket of a handshake (TCP_NEW_SYN_RECV), and one for a
    // port that is bound only.
    constexpr std::uint8_t new_syn_received = 12;
    if (number == new_syn_received) return net::tcp_state::syn_received;
    return number != 0 && number < net::tcp_states_end ? static_cast<net::tcp_state>(number)
                                                       : net::tcp_state::closed;
}

void decode_handshake(const record& from, net::tcp_info& out) noexcept {
    const unsigned options = from.raw.tcpi_options;
    const auto has = [options](unsigned bit) { return (options & bit) != 0; };
    out.timestamps = has(TCPI_OPT_TIMESTAMPS);
    out.selective_acks = has(TCPI_OPT_SACK);
    out.window_scaling = has(TCPI_OPT_WSCALE);
    out.ecn = has(TCPI_OPT_ECN);
    out.ecn_seen = has(TCPI_OPT_ECN_SEEN);
    out.fast_open = has(TCPI_OPT_SYN_DATA);
    if (out.window_scaling) {
        out.send_window_shift = from.raw.tcpi_snd_wscale;
        out.receive_window_shift = from.raw.tcpi_rcv_wscale;
    }
}

void decode_times(const record& from, net::tcp_info& out) noexcept {
    out.rtt = from.measured(&kernel_tcp_info::tcpi_rtt, 0);
    if (out.rtt) out.rtt_variance = from.micros(&kernel_tcp_info::tcpi_rttvar);
    out.min_rtt = from.measured(&kernel_tcp_info::tcpi_min_rtt, no_rtt);
    out.receive_rtt = from.measured(&kernel_tcp_info::tcpi_rcv_rtt, 0);
    out.retransmission_timeout = from.micros(&kernel_tcp_info::tcpi_rto);
    // Before the first byte the kernel counts from the handshake.
    if (from.get(&kernel_tcp_info::tcpi_data_segs_out) != 0u)
        out.since_data_sent = from.millis(&kernel_tcp_info::tcpi_last_data_sent);
    out.since_data_received = from.millis(&kernel_tcp_info::tcpi_last_data_recv);
    out.since_ack_received = from.millis(&kernel_tcp_info::tcpi_last_ack_recv);
    out.busy = from.micros(&kernel_tcp_info::tcpi_busy_time);
    out.receive_window_limited = from.micros(&kernel_tcp_info::tcpi_rwnd_limited);
    out.send_buffer_limited = from.micros(&kernel_tcp_info::tcpi_sndbuf_limited);
}

void decode_windows(const record& from, net::tcp_info& out) noexcept {
    out.send_mss = from.get(&kernel_tcp_info::tcpi_snd_mss);
    out.receive_mss = from.get(&kernel_tcp_info::tcpi_rcv_mss);
    out.advertised_mss = from.get(&kernel_tcp_info::tcpi_advmss);
    out.path_mtu = narrow(from.but(&kernel_tcp_info::tcpi_pmtu, 0));
    out.congestion_window = from.get(&kernel_tcp_info::tcpi_snd_cwnd);
    out.slow_start_threshold = narrow(from.but(&kernel_tcp_info::tcpi_snd_ssthresh, no_threshold));
    out.send_window = from.get(&kernel_tcp_info::tcpi_snd_wnd);
    out.receive_window = from.at<std::uint32_t>(place_of_receive_window);
    out.receive_space = from.get(&kernel_tcp_info::tcpi_rcv_space);
    out.unacked = from.get(&kernel_tcp_info::tcpi_unacked);
    out.sacked = from.get(&kernel_tcp_info::tcpi_sacked);
    out.lost = from.get(&kernel_tcp_info::tcpi_lost);
    out.retransmitted = from.get(&kernel_tcp_info::tcpi_retrans);
    out.reordering = from.get(&kernel_tcp_info::tcpi_reordering);
    out.timeouts_in_row = from.raw.tcpi_retransmits;
    out.unanswered_probes = from.raw.tcpi_probes;
}

void decode_totals(const record& from, net::tcp_info& out) noexcept {
    out.bytes_sent = from.wide(&kernel_tcp_info::tcpi_bytes_sent);
    out.bytes_acked = from.wide(&kernel_tcp_info::tcpi_bytes_acked);
    out.bytes_received = from.wide(&kernel_tcp_info::tcpi_bytes_received);
    out.bytes_retransmitted = from.wide(&kernel_tcp_info::tcpi_bytes_retrans);
    out.unsent_bytes = from.wide(&kernel_tcp_info::tcpi_notsent_bytes);
    out.segments_sent = from.get(&kernel_tcp_info::tcpi_segs_out);
    out.segments_received = from.get(&kernel_tcp_info::tcpi_segs_in);
    out.data_segments_sent = from.get(&kernel_tcp_info::tcpi_data_segs_out);
    out.data_segments_received = from.get(&kernel_tcp_info::tcpi_data_segs_in);
    out.segments_retransmitted = from.get(&kernel_tcp_info::tcpi_total_retrans);
    out.segments_delivered = from.get(&kernel_tcp_info::tcpi_delivered);
    out.segments_delivered_marked = from.get(&kernel_tcp_info::tcpi_delivered_ce);
    out.duplicates_received = from.get(&kernel_tcp_info::tcpi_dsack_dups);
    out.reorderings_seen = from.get(&kernel_tcp_info::tcpi_reord_seen);
    out.out_of_order_received = from.get(&kernel_tcp_info::tcpi_rcv_ooopack);
    if (const auto timeouts = from.at<std::uint16_t>(place_of_total_timeouts))
        out.retransmission_timeouts = *timeouts;
    out.pacing_rate = from.but(&kernel_tcp_info::tcpi_pacing_rate, no_rate);
    out.max_pacing_rate = from.but(&kernel_tcp_info::tcpi_max_pacing_rate, no_rate);
    out.delivery_rate = from.but(&kernel_tcp_info::tcpi_delivery_rate, 0);
    if (out.delivery_rate) out.delivery_app_limited = from.raw.tcpi_delivery_rate_app_limited != 0;
}

}  // namespace

void decode_tcp_info(const void* bytes, std::size_t size, net::tcp_info& out) noexcept {
    const record from(bytes, size);
    out = {};
    out.state = state_of(from.raw.tcpi_state);
    if (from.raw.tcpi_ca_state <= TCP_CA_Loss)
        out.phase = static_cast<net::congestion_phase>(from.raw.tcpi_ca_state);
    decode_handshake(from, out);
    decode_times(from, out);
    decode_windows(from, out);
    decode_totals(from, out);
}

int posix_sockets::tcp_facts(detail::handle socket, net::tcp_info& out) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (slot->datagram || slot->local || slot->listening) return -EOPNOTSUPP;
    alignas(kernel_tcp_info) std::array<std::byte, record_size> bytes;
    socklen_t size = static_cast<socklen_t>(bytes.size());
    if (::getsockopt(slot->descriptor, IPPROTO_TCP, TCP_INFO, bytes.data(), &size) != 0)
        return -errno;
    decode_tcp_info(bytes.data(), size, out);
    return 0;
}

int posix_sockets::waiting_clients(detail::handle listener, net::accept_queue& out) noexcept {
    const socket_slot* slot = find(listener);
    if (slot == nullptr) return result_closed;
    if (slot->datagram || slot->local || !slot->listening) return -EOPNOTSUPP;
    kernel_tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(slot->descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return -errno;
    // Of a listener, tcp_get_info() of Linux writes the depth of its queue and the backlog here.
    out = {info.tcpi_unacked, info.tcpi_sacked};
    return 0;
}

}}}  // namespace coro::v0::detail
