// TCP: tcp_listener accepts and tcp_stream carries bytes; both close at the end of their life.
#pragma once

#include <optional>

#include <coro/core/task.hpp>
#include <coro/net/address.hpp>
#include <coro/net/detail/accept.hpp>
#include <coro/net/detail/rebind.hpp>
#include <coro/net/socket_options.hpp>
#include <coro/net/stream.hpp>
#include <coro/net/tcp_info.hpp>

namespace coro { inline namespace v0 { namespace detail {
class connect_awaiter;
struct stream_access;
}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

/// A TCP connection: a stream, and what only TCP has. Belongs to the loop on which it was made,
/// until rebind(). Bytes that the kernel still has to send are sent when it is destroyed, unless an
/// exception destroys a connection of serve (serve_options::reset_failed).
class CORO_EXPORT tcp_stream : public stream {
public:
    /// A stream without a connection: every operation on it is errc::closed.
    tcp_stream() noexcept = default;

    /// Returns `tcp_stream`: a connection to `to`. Bound it with with_timeout: the kernel alone
    /// gives up after two minutes. The kernel connects a port to itself when it chooses the port of
    /// `to` for our end and no socket listens there. That is no connection: connect tries again,
    /// and then throws connection_refused.
    /// Suspends until the handshake is over; resumes on this loop.
    /// Throws: io_error (connection_refused, timed_out, host_unreachable, network_unreachable,
    /// address_not_available, too_many_files_open, ...); cancelled.
    /// Cancel safety: on `cancelled` there is no connection. See: connect(2).
    [[nodiscard("co_await it")]] CORO_EXPORT static detail::connect_awaiter connect(
        endpoint to, const connect_options& options = {}) noexcept;

    /// Returns nothing. Makes this loop the stream's own. A task on another loop than the one on
    /// which the stream was made awaits it before it does anything else with the stream. Does
    /// nothing if it is already. Suspends for a message to the other loop and one back; resumes on
    /// this loop.
    /// Requires: no lease, buffered_stream or buffered_writer of it is alive.
    /// Throws: io_error (errc::busy while an operation is pending on it, and it stays where it was;
    /// errc::closed; not_enough_memory, and then it is closed). Is not cancelled.
    [[nodiscard("co_await it")]] detail::rebind_awaiter rebind() noexcept {
        return detail::rebind_awaiter(socket_);
    }

    /// Takes `descriptor` over, a connected TCP socket that other code has made: the stream
    /// owns it from now on. Makes it non-blocking and close-on-exec.
    /// Throws: io_error (bad_file_descriptor; not_a_socket; wrong_protocol_type or
    /// address_family_not_supported: it is of another kind; invalid_argument: it listens;
    /// not_connected; not_enough_memory; operation_not_supported in a simulation). Then it stays
    /// the caller's. Requires: called inside of run(); nothing else uses it meanwhile.
    [[nodiscard]] CORO_EXPORT static tcp_stream adopt(int descriptor);
    /// Gives the connection up and returns its descriptor, which the caller must close. It blocks
    /// again if it did when it was adopted; a socket that the library has made does not block.
    /// Throws: io_error (errc::busy while an operation is pending on it; errc::closed;
    /// operation_not_supported in a simulation). Then the stream is as before.
    /// Requires: no lease, buffered_stream or buffered_writer of it is alive.
    [[nodiscard]] CORO_EXPORT int release();

    /// The peer, as it was when the connection was made. Throws: io_error (errc::closed).
    [[nodiscard]] CORO_EXPORT endpoint remote_endpoint() const;
    /// Throws: io_error (errc::closed). See: getsockname(2).
    [[nodiscard]] CORO_EXPORT endpoint local_endpoint() const;
    /// What the kernel knows of this connection now, in a system call. A connection that has ended
    /// by an error has a state too. In a simulation: what its network knows; see tcp_info.
    /// Throws: io_error (errc::closed). See: tcp(7) TCP_INFO.
    [[nodiscard]] CORO_EXPORT tcp_info info() const;
    /// Sets what is set in `options`. Throws: io_error that names the option.
    CORO_EXPORT void set_options(const stream_options& options);
    /// From now on only full segments are sent, until uncork(), but no byte later than 200 ms. So a
    /// header and a body that are written one after the other leave together.
    /// Throws: io_error (errc::closed). See: tcp(7) TCP_CORK.
    CORO_EXPORT void cork();
    /// Ends cork(), and sends what is left: at once where no_delay is on, as it is by default.
    /// Otherwise a last segment that is not full waits for the acknowledgement of earlier ones.
    /// Throws: io_error (errc::closed). See: tcp(7) TCP_CORK, TCP_NODELAY.
    CORO_EXPORT void uncork();
    /// The congestion control of this connection. Throws: io_error (errc::closed).
    /// See: tcp(7) TCP_CONGESTION.
    [[nodiscard]] CORO_EXPORT net::congestion_control congestion_control() const;

private:
    CORO_EXPORT void set_cork(int on, const char* verb);

    friend class detail::connect_awaiter;
    template <typename>
    friend class detail::accept_awaiter;
    friend struct detail::stream_access;
    explicit tcp_stream(detail::socket_ref from) noexcept : stream(from) {}
};

/// A socket that accepts connections. Move-only; closing it resets nobody who was accepted.
class tcp_listener {
public:
    using stream = tcp_stream;  ///< the type of what it accepts; see listener.hpp

    tcp_listener() noexcept = default;

    /// Binds to `where` (port 0: the kernel chooses, see local_endpoint()) and listens.
    /// Throws: io_error (address_in_use, permission_denied, address_not_available; an option that
    /// was refused is named). Requires: called inside of run(). See: bind(2), listen(2).
    [[nodiscard]] CORO_EXPORT static tcp_listener bind(endpoint where,
                                                       const listen_options& options = {});

    /// Returns `tcp_stream`: the next connection. Connections that died in the queue are skipped.
    /// When descriptors or memory run out (EMFILE, ENFILE, ENOBUFS, ENOMEM), accept turns one
    /// waiting client away with a reserved descriptor. It tells the report hook and goes on after a
    /// pause. So it never spins, and the clients get a close instead of a hang.
    /// Suspends until a connection is there; resumes on this loop.
    /// Throws: io_error (errc::busy, errc::closed); cancelled.
    /// Cancel safety: on `cancelled` no connection was taken. See: accept(2).
    [[nodiscard("co_await it")]] CORO_EXPORT detail::accept_awaiter<tcp_stream> accept() noexcept;

    /// Returns `std::optional<tcp_stream>`: a connection that waits already; empty if there is
    /// none. Does not wait for clients.
    /// Throws and cancel safety: as accept().
    [[nodiscard("co_await it or spawn it")]] CORO_EXPORT task<std::optional<tcp_stream>>
    accept_if_waiting();

    void close() noexcept { socket_.close(); }
    /// Closes it unless a connection waits (the kernel resets those that wait when a listener is
    /// closed); whether it is closed now. Requires: no accept is pending.
    [[nodiscard]] CORO_EXPORT bool close_if_idle() noexcept;
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
    /// Throws: io_error (errc::closed). See: getsockname(2).
    [[nodiscard]] CORO_EXPORT endpoint local_endpoint() const;
    /// How many connections wait to be accepted, and how many may; in a system call. Of listeners
    /// that share an endpoint (listen_options::reuse_port) each has a queue of its own.
    /// Throws: io_error (errc::closed). See: listen(2), tcp(7) TCP_INFO.
    [[nodiscard]] CORO_EXPORT accept_queue queue() const;

private:
    friend struct detail::stream_access;
    explicit tcp_listener(detail::socket_ref from) noexcept : socket_(from) {}

    detail::owned_socket socket_;
};

}}}  // namespace coro::v0::net

#include <coro/net/detail/connect_awaiter.hpp>
