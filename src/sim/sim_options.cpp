// Socket options of the simulated world: stored, checked and answered as the kernel does it.
#include <algorithm>
#include <cerrno>
#include <limits>

#include "sim/sim_poller.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr int smallest_send_buffer = 4608;     // socket(7), doubled
constexpr int smallest_receive_buffer = 2304;
constexpr int largest_buffer = 8 << 20;        // doubled; the kernel's wmem_max and rmem_max vary
constexpr int default_buffer = 2 * 32 * 1024;
constexpr int longest_keepalive_seconds = 32767;
constexpr int most_keepalive_probes = 127;
constexpr int largest_octet = 255;       // ip(7) IP_TOS
constexpr int ecn_bits = 3;
constexpr int most_free_priority = 6;    // socket(7) SO_PRIORITY, without a privilege
constexpr int smallest_segment = 88;     // TCP_MIN_MSS
constexpr int largest_segment = 32767;   // MAX_TCP_WINDOW

int doubled(int value, int smallest) {
    return std::clamp(value, smallest / 2, largest_buffer / 2) * 2;
}

bool is_tcp_option(socket_option which) {
    switch (which) {
        case socket_option::no_delay:
        case socket_option::keepalive_idle:
        case socket_option::keepalive_interval:
        case socket_option::keepalive_count:
        case socket_option::user_timeout:
        case socket_option::quick_ack:
        case socket_option::cork:
        case socket_option::fast_open:
        case socket_option::fast_open_connect:
        case socket_option::not_sent_low_water:
        case socket_option::maximum_segment: return true;
        default: return false;
    }
}

/// 0, or why `which` means nothing on a socket of this family.
int refused(const sim_socket& socket, socket_option which) {
    if (socket.datagram && is_tcp_option(which)) return -ENOPROTOOPT;
    const bool local = socket.family == address_family::local;
    if (local && (is_tcp_option(which) || which == socket_option::v6_only)) return -EOPNOTSUPP;
    if (socket.family == address_family::ipv4 && which == socket_option::v6_only) {
        return -ENOPROTOOPT;
    }
    return 0;
}

/// Turns `value` into what is stored; 0 or -EINVAL.
int normalise(const sim_socket& socket, socket_option which, int& value) {
    int most = std::numeric_limits<int>::max();
    int least = 1;
    switch (which) {
        case socket_option::reuse_address:
        case socket_option::reuse_port:
        case socket_option::no_delay:
        case socket_option::keepalive:
        case socket_option::quick_ack:
        case socket_option::cork: value = value != 0; return 0;
        case socket_option::fast_open_connect:
            if (value < 0 || value > 1) return -EINVAL;
            return socket.state == sim_state::fresh ? 0 : -EISCONN;
        case socket_option::fast_open:
            if (value < 0) return -EINVAL;
            return socket.state == sim_state::fresh || socket.state == sim_state::listening
                       ? 0
                       : -EINVAL;
        case socket_option::traffic_class:
            if (value < 0 || value > largest_octet) return -EINVAL;
            value &= ~ecn_bits;  // TCP sets these
            return 0;
        case socket_option::mark:
        case socket_option::not_sent_low_water: return 0;  // the kernel checks no range
        case socket_option::priority: return value < 0 || value > most_free_priority ? -EPERM : 0;
        case socket_option::maximum_segment:
            least = smallest_segment;
            most = largest_segment;
            break;
        case socket_option::v6_only: value = value != 0; return socket.bound ? -EINVAL : 0;
        case socket_option::receive_buffer:
            value = doubled(value, smallest_receive_buffer);
            return 0;
        case socket_option::send_buffer:
            value = doubled(value, smallest_send_buffer);
            return 0;
        case socket_option::linger: value = std::max(value, -1); return 0;
        case socket_option::user_timeout: least = 0; break;
        case socket_option::keepalive_count: most = most_keepalive_probes; break;
        case socket_option::keepalive_idle:
        case socket_option::keepalive_interval: most = longest_keepalive_seconds; break;
    }
    return value < least || value > most ? -EINVAL : 0;
}

}  // namespace

void sim_poller::set_default_options(sim_socket& socket) noexcept {
    const auto set = [&](socket_option which, int value) {
        socket.options[static_cast<std::size_t>(which)] = value;
    };
    set(socket_option::receive_buffer, default_buffer);
    set(socket_option::send_buffer, default_buffer);
    set(socket_option::linger, -1);
    set(socket_option::keepalive_idle, 7200);  // tcp(7), these three
    set(socket_option::keepalive_interval, 75);
    set(socket_option::keepalive_count, 9);
    set(socket_option::quick_ack, 1);
    set(socket_option::maximum_segment, 536);  // RFC 9293, before a peer has named another
}

int sim_poller::set_option(detail::handle handle, socket_option which, int value) noexcept {
    sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (const int error = refused(*socket, which); error != 0) return error;
    if (const int error = normalise(*socket, which, value); error != 0) return error;
    socket->options[static_cast<std::size_t>(which)] = value;
    return 0;
}

void sim_socket::forget_own_options() noexcept {
    options[static_cast<std::size_t>(socket_option::quick_ack)] = 1;
    options[static_cast<std::size_t>(socket_option::priority)] = 0;
}

int sim_poller::set_congestion(detail::handle handle, const congestion_name& name) noexcept {
    sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (socket->datagram || socket->family == address_family::local) return -EOPNOTSUPP;
    socket->congestion = name;
    return 0;
}

int sim_poller::get_congestion(detail::handle handle, congestion_name& name) noexcept {
    const sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (socket->datagram || socket->family == address_family::local) return -EOPNOTSUPP;
    name = socket->congestion;
    return 0;
}

int sim_poller::get_option(detail::handle handle, socket_option which, int& value) noexcept {
    const sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (const int error = refused(*socket, which); error != 0) return error;
    value = socket->option(which);
    return 0;
}

}}}  // namespace coro::v0::detail
