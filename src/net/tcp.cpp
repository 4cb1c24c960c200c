// TCP over the waist: connect with its options, and listeners.
#include <coro/net/tcp.hpp>

#include <algorithm>
#include <cerrno>

#include <coro/runtime/detail/this_strand.hpp>

#include "net/adopt.hpp"
#include "net/apply_options.hpp"
#include "net/io_failure.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

address_family family_of(const net::endpoint& of) noexcept {
    return of.family() == net::ip_family::ipv4 ? address_family::ipv4 : address_family::ipv6;
}

}  // namespace

// --- connect

/// Attempts of which each was given the port that it connects to. The kernel goes on to the next
/// port. So two are a rare chance, and three mean that there is no other port.
constexpr std::uint8_t most_met_itself = 3;

bool connect_awaiter::start() noexcept {
    set_outcome(wait_outcome::done);
    return ask() || !go_on();
}

/// A simultaneous open with oneself: RFC 9293, 3.5. It needs a listener that is not there, and the
/// port of `to_` for our end, chosen by the kernel or by the program. The kernel may choose any:
/// ip_local_port_range, ip(7), begins below 1024 where ip_unprivileged_port_start was lowered.
bool connect_awaiter::met_itself() noexcept {
    const bool chosen = !options_.local || options_.local->port() == 0;
    if (!chosen && options_.local->port() != to_.port()) return false;
    detail::poller& poller = scheduler_of(loop()).poller();
    socket_address ours;
    socket_address theirs;
    return poller.local_address(target, ours) == 0 && poller.remote_address(target, theirs) == 0 &&
           ours.size == theirs.size &&
           std::equal(ours.bytes.begin(), ours.bytes.begin() + ours.size, theirs.bytes.begin());
}

/// After a completion: true when the wait has ended, false when it goes on.
bool connect_awaiter::go_on() noexcept {
    while (result >= 0 && met_itself()) {
        // Closed by a reset: else the port, which is that of a server, would be held for a minute.
        static_cast<void>(
            scheduler_of(loop()).poller().set_option(target, socket_option::linger, 0));
        socket_.close();
        if (strand().scope->is_cancelled()) {
            result = -ECANCELED;
        } else if (++met_itself_ == most_met_itself ||
                   (options_.local && options_.local->port() != 0)) {
            result = -ECONNREFUSED;
        } else if (ask()) {
            return false;
        }
    }
    return true;
}

bool connect_awaiter::ask() noexcept {
    detail::poller& poller = scheduler_of(loop()).poller();
    result = poller.open_stream(family_of(to_), target);
    if (result < 0) return false;
    socket_ = owned_socket({&loop(), target});
    if (const option_failure refused = apply_options(poller, target, options_)) {
        failed_verb_ = refused.verb;
        result = refused.error;
        return false;
    }
    if (options_.local) {
        result = poller.bind(target, to_socket_address(*options_.local));
        if (result < 0) {
            failed_verb_ = "bind tcp";
            return false;
        }
    }
    address_ = to_socket_address(to_);
    where = &address_;
    return submit_io(*this, strand());
}

net::tcp_stream connect_awaiter::finish() {
    if (result >= 0) return net::tcp_stream({&loop(), socket_.release()});
    if (result == -ECANCELED) throw_cancelled();
    std::array<char, net::endpoint::text_capacity> text;
    if (failed_verb_ != nullptr)
        throw refused_option(result, failed_verb_, options_.stream, to_.to_text(text));
    throw io_error(error_of(result), "connect tcp", to_.to_text(text));
}

void connect_awaiter::throw_cancelled() const {
    std::array<char, net::endpoint::text_capacity> text;
    throw cancelled(0, to_.to_text(text));
}

void connect_awaiter::describe(text_sink& out) const noexcept {
    std::array<char, net::endpoint::text_capacity> text;
    out.write("connect ");
    out.write(to_.to_text(text));
}

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

using detail::error_of;

detail::connect_awaiter tcp_stream::connect(endpoint to, const connect_options& options) noexcept {
    return {to, options};
}

tcp_stream tcp_stream::adopt(int descriptor) {
    return tcp_stream(detail::adopt_stream(descriptor, detail::address_family::ipv4));
}

int tcp_stream::release() { return detail::release_stream(socket_); }

endpoint tcp_stream::remote_endpoint() const {
    detail::socket_address raw;
    endpoint peer;
    const detail::socket_ref& socket = socket_.ref();
    const int result = socket.handle
                           ? detail::poller_of(socket).remote_address(socket.handle, raw)
                           : detail::result_closed;
    if (result < 0) throw io_error(error_of(result), "getpeername tcp");
    if (!detail::from_socket_address(raw, peer))
        throw io_error(std::make_error_code(std::errc::address_family_not_supported),
                       "getpeername tcp");
    return peer;
}

namespace {

endpoint local_endpoint_of(const detail::socket_ref& socket) {
    detail::socket_address raw;
    endpoint local;
    const int result = socket.handle ? detail::poller_of(socket).local_address(socket.handle, raw)
                                     : detail::result_closed;
    if (result < 0) throw io_error(error_of(result), "getsockname tcp");
    if (!detail::from_socket_address(raw, local))
        throw io_error(std::make_error_code(std::errc::address_family_not_supported),
                       "getsockname tcp");
    return local;
}

}  // namespace

endpoint tcp_stream::local_endpoint() const { return local_endpoint_of(socket_.ref()); }

tcp_info tcp_stream::info() const {
    const detail::socket_ref& socket = socket_.ref();
    tcp_info found;
    const int result = socket.handle ? detail::poller_of(socket).tcp_facts(socket.handle, found)
                                     : detail::result_closed;
    if (result < 0) throw io_error(error_of(result), "getsockopt tcp_info");
    return found;
}

void tcp_stream::set_options(const stream_options& options) {
    const detail::socket_ref& socket = socket_.ref();
    if (!socket.handle) throw io_error(errc::closed, "setsockopt tcp");
    if (const detail::option_failure refused =
            detail::apply_options(detail::poller_of(socket), socket.handle, options))
        throw detail::refused_option(refused.error, refused.verb, options);
}

void tcp_stream::cork() { set_cork(1, "cork"); }
void tcp_stream::uncork() { set_cork(0, "uncork"); }

void tcp_stream::set_cork(int on, const char* verb) {
    const detail::socket_ref& socket = socket_.ref();
    const int result = socket.handle ? detail::poller_of(socket).set_option(
                                           socket.handle, detail::socket_option::cork, on)
                                     : detail::result_closed;
    if (result < 0) throw io_error(error_of(result), verb);
}

net::congestion_control tcp_stream::congestion_control() const {
    const detail::socket_ref& socket = socket_.ref();
    detail::congestion_name name{};
    const int result = socket.handle
                           ? detail::poller_of(socket).get_congestion(socket.handle, name)
                           : detail::result_closed;
    if (result < 0) throw io_error(error_of(result), "getsockopt congestion_control");
    return name.data();
}

tcp_listener tcp_listener::bind(endpoint where, const listen_options& options) {
    detail::loop& loop = detail::this_loop();
    detail::poller& poller = detail::scheduler_of(loop).poller();
    std::array<char, endpoint::text_capacity> buffer;
    const auto check = [&](int result, const char* verb) {
        if (result < 0) throw io_error(error_of(result), verb, where.to_text(buffer));
    };
    detail::handle handle;
    check(poller.open_stream(detail::family_of(where), handle), "bind tcp");
    tcp_listener listener(detail::socket_ref{&loop, handle});
    const detail::option_failure refused = detail::apply_options(poller, handle, options);
    if (refused) {
        throw detail::refused_option(refused.error, refused.verb, options.accepted,
                                     where.to_text(buffer));
    }
    check(poller.bind(handle, detail::to_socket_address(where)), "bind tcp");
    check(poller.listen(handle, options.backlog), "listen tcp");
    return listener;
}

detail::accept_awaiter<tcp_stream> tcp_listener::accept() noexcept {
    return {socket_.ref(), false};
}

task<std::optional<tcp_stream>> tcp_listener::accept_if_waiting() {
    detail::accept_awaiter<tcp_stream> once(socket_.ref(), true);
    tcp_stream accepted = co_await once;
    if (!accepted) co_return std::nullopt;
    co_return std::optional<tcp_stream>(std::move(accepted));
}

bool tcp_listener::close_if_idle() noexcept {
    if (!socket_) return true;
    const detail::socket_ref which = socket_.ref();
    if (detail::poller_of(which).close_if_idle(which.handle) == 0)
        static_cast<void>(socket_.release());
    return !socket_;
}

accept_queue tcp_listener::queue() const {
    const detail::socket_ref& socket = socket_.ref();
    accept_queue found;
    const int result = socket.handle
                           ? detail::poller_of(socket).waiting_clients(socket.handle, found)
                           : detail::result_closed;
    if (result < 0) throw io_error(error_of(result), "getsockopt tcp_info of a listener");
    return found;
}

endpoint tcp_listener::local_endpoint() const { return local_endpoint_of(socket_.ref()); }

}}}  // namespace coro::v0::net
