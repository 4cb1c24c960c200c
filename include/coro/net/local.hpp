// Unix sockets: local_listener accepts and local_stream carries bytes between processes of one
// machine.
#pragma once

#include <memory>
#include <optional>

#include <coro/core/task.hpp>
#include <coro/net/detail/accept.hpp>
#include <coro/net/detail/rebind.hpp>
#include <coro/net/local_address.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace detail {
class local_connect_awaiter;
struct bound_file;
}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

/// A connection of a Unix socket: a stream, and what only that kind has. Belongs to the loop on
/// which it was made, until rebind(). Bytes that were sent are with the peer when it is destroyed.
class CORO_EXPORT local_stream : public stream {
public:
    /// A stream without a connection: every operation on it is errc::closed.
    local_stream() noexcept = default;

    /// Returns `local_stream`: a connection to the server that listens at `to`.
    /// Suspends while the server's backlog is full; resumes on this loop.
    /// Throws: io_error (no_such_file_or_directory; connection_refused: nobody listens there;
    /// permission_denied, too_many_files_open, ...); cancelled.
    /// Cancel safety: on `cancelled` there is no connection. See: connect(2), unix(7).
    [[nodiscard("co_await it")]] CORO_EXPORT static detail::local_connect_awaiter connect(
        const local_address& to) noexcept;

    /// Returns nothing. As tcp_stream::rebind().
    [[nodiscard("co_await it")]] detail::rebind_awaiter rebind() noexcept {
        return detail::rebind_awaiter(socket_);
    }

    /// Takes `descriptor` over, a connected Unix stream socket that other code has made: the stream
    /// owns it from now on. Makes it non-blocking and close-on-exec.
    /// Throws: io_error (bad_file_descriptor; not_a_socket; wrong_protocol_type or
    /// address_family_not_supported: it is of another kind; invalid_argument: it listens;
    /// not_connected; not_enough_memory; operation_not_supported in a simulation). Then it stays
    /// the caller's. Requires: called inside of run(); nothing else uses it meanwhile.
    [[nodiscard]] CORO_EXPORT static local_stream adopt(int descriptor);
    /// Gives the connection up and returns its descriptor, which the caller must close. It blocks
    /// again if it did when it was adopted; a socket that the library has made does not block.
    /// Throws: io_error (errc::busy while an operation is pending on it; errc::closed;
    /// operation_not_supported in a simulation). Then the stream is as before.
    /// Requires: no lease, buffered_stream or buffered_writer of it is alive.
    [[nodiscard]] CORO_EXPORT int release();

    /// The peer's name; unnamed for most clients. Throws: io_error (errc::closed).
    [[nodiscard]] CORO_EXPORT local_address remote_endpoint() const;
    /// Throws: io_error (errc::closed). See: getsockname(2).
    [[nodiscard]] CORO_EXPORT local_address local_endpoint() const;

private:
    friend class detail::local_connect_awaiter;
    friend struct detail::stream_access;
    template <typename>
    friend class detail::accept_awaiter;
    explicit local_stream(detail::socket_ref from) noexcept : stream(from) {}
};

/// Options of a local_listener.
struct local_listen_options {
    /// Connections that may wait to be accepted; the kernel cuts it at net.core.somaxconn.
    int backlog = 4096;
    /// Permissions of the socket's file: who may write to it may connect. Not set: 0777 less the
    /// umask of the process. No meaning for an abstract name.
    std::optional<unsigned> mode = std::nullopt;
};

/// A Unix socket that accepts connections. Move-only; closing it ends nobody who was accepted. Its
/// file is removed when it closes, if no other one has taken its place.
class local_listener {
public:
    using stream = local_stream;

    CORO_EXPORT local_listener() noexcept;
    CORO_EXPORT local_listener(local_listener&& other) noexcept;
    CORO_EXPORT local_listener& operator=(local_listener&& other) noexcept;
    CORO_EXPORT ~local_listener();

    /// Binds to `where` and listens. A file at that path that nobody listens at, as a server leaves
    /// it that was killed, is replaced. To tell a dead server from one that lives, bind connects,
    /// and has the folder locked meanwhile (flock(2)). It waits at most a second for that lock.
    /// Throws: io_error. It is address_in_use if a server listens there, and file_exists if
    /// something is there that is no socket. It is resource_unavailable_try_again if another
    /// process keeps the folder locked. It is no_such_file_or_directory or permission_denied of the
    /// folder; or another error of bind(2).
    /// Requires: called inside of run(). See: unix(7), bind(2), listen(2).
    [[nodiscard]] CORO_EXPORT static local_listener bind(const local_address& where,
                                                         const local_listen_options& options = {});

    /// Returns `local_stream`: the next connection. As tcp_listener::accept().
    /// Suspends until a connection is there; resumes on this loop.
    /// Throws: io_error (errc::busy, errc::closed); cancelled.
    /// Cancel safety: on `cancelled` no connection was taken. See: accept(2).
    [[nodiscard("co_await it")]] CORO_EXPORT detail::accept_awaiter<local_stream> accept() noexcept;

    /// Returns `std::optional<local_stream>`: a connection that waits already; empty if there is
    /// none. Does not wait for clients.
    /// Throws and cancel safety: as accept().
    [[nodiscard("co_await it or spawn it")]] CORO_EXPORT task<std::optional<local_stream>>
    accept_if_waiting();

    CORO_EXPORT void close() noexcept;
    /// Closes it unless a connection waits (the kernel resets those that wait when a listener is
    /// closed); whether it is closed now. Requires: no accept is pending.
    [[nodiscard]] CORO_EXPORT bool close_if_idle() noexcept;
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
    /// Returns the address at which it listens. Throws: io_error (errc::closed).
    [[nodiscard]] CORO_EXPORT local_address local_endpoint() const;

private:
    friend struct detail::stream_access;

    void remove_file() noexcept;

    detail::owned_socket socket_;
    std::unique_ptr<detail::bound_file> file_;  ///< none at an abstract name
};

}}}  // namespace coro::v0::net

#include <coro/net/detail/local_connect_awaiter.hpp>
