// Which option becomes which call of poller::set_option, with which verb for its error.
#include "net/apply_options.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "net/io_failure.hpp"
#include "net/proc_tables.hpp"

namespace coro { inline namespace v0 { namespace detail {

namespace {

using namespace std::chrono_literals;

/// Seconds; the kernel refuses more (tcp(7) TCP_KEEPIDLE, TCP_KEEPINTVL).
constexpr int longest_keepalive = 32767;

constexpr const char* set_congestion_control = "set congestion_control";

/// Sets one option after the other until one is refused.
class setter {
public:
    setter(detail::poller& poller, detail::handle socket) noexcept
        : poller_(poller), socket_(socket) {}

    template <typename Number>
    void set(const char* verb, socket_option which, Number value) noexcept {
        if (failure_) return;
        const bool fits = std::in_range<int>(value) && value >= 0;
        const int error =
            fits ? poller_.set_option(socket_, which, static_cast<int>(value)) : -EINVAL;
        if (error != 0) failure_ = {error, verb};
    }
    void set(const char* verb, socket_option which, bool value) noexcept {
        set(verb, which, value ? 1 : 0);
    }
    /// One that a machine may not have switched on: then nothing is set.
    void try_to_set(const char* verb, socket_option which) noexcept {
        if (failure_) return;
        const int error = poller_.set_option(socket_, which, 1);
        if (error != 0 && error != -EOPNOTSUPP) failure_ = {error, verb};
    }
    /// A span that the kernel counts in `unit`, held in its range. It is rounded up, so that it is
    /// never shorter than what was asked for. (A linger of half a second must not become "reset".)
    void set(const char* verb, socket_option which, duration value, duration unit, int least,
             int most = std::numeric_limits<int>::max()) noexcept {
        const duration::rep whole = value / unit + (value % unit > duration::zero() ? 1 : 0);
        set(verb, which, std::clamp<duration::rep>(whole, least, most));
    }
    /// A number of 32 bits, which the kernel reads as such.
    void set_bits(const char* verb, socket_option which, std::uint32_t value) noexcept {
        if (failure_) return;
        const int error = poller_.set_option(socket_, which, static_cast<int>(value));
        if (error != 0) failure_ = {error, verb};
    }
    /// The upper six bits of the octet; the others are those of ECN.
    void set_code_point(unsigned value) noexcept {
        constexpr unsigned largest = 63;
        set("set dscp", socket_option::traffic_class,
            value <= largest ? static_cast<int>(value << 2) : -1);
    }
    void set(const net::congestion_control& which) noexcept {
        if (failure_) return;
        congestion_name name{};
        std::copy(which.name().begin(), which.name().end(), name.begin());
        // The kernel would take no name for none, and cut a long one.
        const int error = which.name().empty() ? -ENOENT : poller_.set_congestion(socket_, name);
        if (error != 0) failure_ = {error, set_congestion_control};
    }
    template <typename T>
    void set(const char* verb, socket_option which, const std::optional<T>& value) noexcept {
        if (value) set(verb, which, *value);
    }

    [[nodiscard]] option_failure failure() const noexcept { return failure_; }

private:
    poller& poller_;
    detail::handle socket_;
    option_failure failure_;
};

/// Keepalive and user timeout as dead_peer means them. The kernel ends a connection at the first
/// probe that is due when the user timeout has passed; its count of probes does not matter then.
/// A timer of the kernel is late by an eighth of what it was set to, so a long first span must end
/// well before, and probes a second apart then tell to a second.
net::stream_options with_dead_peer(net::stream_options options) noexcept {
    if (!options.dead_peer || *options.dead_peer == duration::max()) return options;
    constexpr duration least = 2s;
    constexpr duration most = 9h;
    constexpr int most_probes = 127;
    const auto span = std::chrono::ceil<std::chrono::seconds>(
        std::clamp<duration>(*options.dead_peer, least, most));
    if (!options.keepalive)
        options.keepalive = {.idle = span * 3 / 4, .interval = 1s, .count = most_probes};
    if (!options.user_timeout) options.user_timeout = span;
    return options;
}

void set_stream_options(setter& to, const net::stream_options& options) noexcept {
    to.set("set no_delay", socket_option::no_delay, options.no_delay);
    to.set("set receive_buffer_bytes", socket_option::receive_buffer, options.receive_buffer_bytes);
    to.set("set send_buffer_bytes", socket_option::send_buffer, options.send_buffer_bytes);
    // A negative number would mean "off" to the kernel.
    if (options.linger) to.set("set linger", socket_option::linger, *options.linger, 1s, 0);
    const net::stream_options both = with_dead_peer(options);
    if (both.keepalive) {
        // The times first: probes must not begin with the system's.
        const net::keepalive_options& probes = *both.keepalive;
        to.set("set keepalive.idle", socket_option::keepalive_idle, probes.idle, 1s, 1,
               longest_keepalive);
        to.set("set keepalive.interval", socket_option::keepalive_interval, probes.interval, 1s, 1,
               longest_keepalive);
        to.set("set keepalive.count", socket_option::keepalive_count, probes.count);
        to.set("set keepalive", socket_option::keepalive, true);
    }
    // Zero would mean "the system's" to the kernel.
    if (both.user_timeout)
        to.set("set user_timeout", socket_option::user_timeout, *both.user_timeout, 1ms, 1);
    to.set("set quick_ack", socket_option::quick_ack, options.quick_ack);
    to.set("set cork", socket_option::cork, options.cork);
    if (options.congestion_control) to.set(*options.congestion_control);
    if (options.mark) to.set_bits("set mark", socket_option::mark, *options.mark);
    if (options.dscp) to.set_code_point(*options.dscp);
    // Behind the code point, which sets it too.
    to.set("set priority", socket_option::priority, options.priority);
    to.set("set not_sent_low_water_bytes", socket_option::not_sent_low_water,
           options.not_sent_low_water_bytes);
    to.set("set maximum_segment_bytes", socket_option::maximum_segment,
           options.maximum_segment_bytes);
}

}  // namespace

option_failure apply_options(detail::poller& poller, detail::handle socket,
                             const net::stream_options& options) noexcept {
    setter to(poller, socket);
    set_stream_options(to, options);
    return to.failure();
}

option_failure apply_options(detail::poller& poller, detail::handle socket,
                             const net::connect_options& options) noexcept {
    setter to(poller, socket);
    set_stream_options(to, options.stream);
    if (options.fast_open) to.try_to_set("set fast_open", socket_option::fast_open_connect);
    return to.failure();
}

option_failure apply_options(detail::poller& poller, detail::handle socket,
                             const net::listen_options& options) noexcept {
    setter to(poller, socket);
    if (options.reuse_address) to.set("set reuse_address", socket_option::reuse_address, true);
    if (options.reuse_port) to.set("set reuse_port", socket_option::reuse_port, true);
    to.set("set v6_only", socket_option::v6_only, options.v6_only);
    to.set("set fast_open", socket_option::fast_open, options.fast_open);
    net::stream_options accepted = options.accepted;
    if (!accepted.dead_peer && !accepted.keepalive && !accepted.user_timeout)
        accepted.dead_peer = options.dead_peer;
    set_stream_options(to, accepted);
    return to.failure();
}

io_error refused_option(std::int32_t error, const char* verb, const net::stream_options& options,
                        std::string_view endpoint) {
    const std::error_code code = error_of(error);
    if (verb != set_congestion_control || !options.congestion_control)
        return io_error(code, verb, endpoint);
    const net::congestion_control& which = *options.congestion_control;
    std::string text = which.is_too_long() ? "a name has at most 15 characters"
                                           : "\"" + std::string(which.name()) + "\"";
    const bool forbidden = code == std::errc::operation_not_permitted;
    if (forbidden || code == std::errc::no_such_file_or_directory) {
        try {
            std::string names = read_proc_file(
                forbidden ? "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
                          : "/proc/sys/net/ipv4/tcp_available_congestion_control",
                verb);
            while (!names.empty() && names.back() == '\n') names.pop_back();
            text += forbidden ? " needs CAP_NET_ADMIN; every user may choose: "
                              : "; this kernel has: ";
            text += names;
        } catch (const io_error&) {  // no /proc: the name alone
        }
    }
    return io_error(code, verb, endpoint, error_text(text));
}

}}}  // namespace coro::v0::detail
