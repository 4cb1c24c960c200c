// Which option becomes which call of poller::set_option, with which verb for its error.
#include "net/apply_options.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <limits>
#include <optional>
#include <utility>

namespace coro { inline namespace v0 { namespace detail {

namespace {

using namespace std::chrono_literals;

/// Seconds; the kernel refuses more (tcp(7) TCP_KEEPIDLE, TCP_KEEPINTVL).
constexpr int longest_keepalive = 32767;

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
    /// A span that the kernel counts in `unit`, held in its range. It is rounded up, so that it is
    /// never shorter than what was asked for. (A linger of half a second must not become "reset".)
    void set(const char* verb, socket_option which, duration value, duration unit, int least,
             int most = std::numeric_limits<int>::max()) noexcept {
        const duration::rep whole = value / unit + (value % unit > duration::zero() ? 1 : 0);
        set(verb, which, std::clamp<duration::rep>(whole, least, most));
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
}

}  // namespace

option_failure apply_options(detail::poller& poller, detail::handle socket,
                             const net::stream_options& options) noexcept {
    setter to(poller, socket);
    set_stream_options(to, options);
    return to.failure();
}

option_failure apply_options(detail::poller& poller, detail::handle socket,
                             const net::listen_options& options) noexcept {
    setter to(poller, socket);
    if (options.reuse_address) to.set("set reuse_address", socket_option::reuse_address, true);
    if (options.reuse_port) to.set("set reuse_port", socket_option::reuse_port, true);
    to.set("set v6_only", socket_option::v6_only, options.v6_only);
    net::stream_options accepted = options.accepted;
    if (!accepted.dead_peer && !accepted.keepalive && !accepted.user_timeout)
        accepted.dead_peer = options.dead_peer;
    set_stream_options(to, accepted);
    return to.failure();
}

}}}  // namespace coro::v0::detail
