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

int doubled(int value, int smallest) {
    return std::clamp(value, smallest / 2, largest_buffer / 2) * 2;
}

bool is_tcp_option(socket_option which) {
    switch (which) {
        case socket_option::no_delay:
        case socket_option::keepalive_idle:
        case socket_option::keepalive_interval:
        case socket_option::keepalive_count:
        case socket_option::user_timeout: return true;
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
        case socket_option::keepalive: value = value != 0; return 0;
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
}

int sim_poller::set_option(detail::handle handle, socket_option which, int value) noexcept {
    sim_socket* socket = find(handle);
    if (socket == nullptr) return result_closed;
    if (const int error = refused(*socket, which); error != 0) return error;
    if (const int error = normalise(*socket, which, value); error != 0) return error;
    socket->options[static_cast<std::size_t>(which)] = value;
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
