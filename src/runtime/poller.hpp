// THE WAIST: everything that a loop asks of the world below it. Three worlds supply it: io_uring,
// epoll, and a simulation. What all loops of a run share (clock, chance, threads, the choice of the
// poller) is in world.hpp.
//
// The contract (tests/conformance/poller_*_test.cpp are its executable form, for all three):
//
//  1. Completion-shaped. Every submitted operation completes exactly once, also after cancel().
//     submit() either returns `true`: done at once, phase == completed, and the operation will
//     not appear in any completed list; or `false`: phase == submitted, and it will appear in the
//     list that a later wait() fills. submit() allocates nothing and resumes nobody. (A backend may
//     grow its own tables; op.result is -ENOMEM when that fails.)
//  2. result >= 0 is bytes (or 0 for accept and connect); < 0 is a negated errno with the same
//     meaning in every world, or result_closed / result_busy / result_limit. Short transfers of
//     a stream are legal, and no request moves more than `most_bytes_at_once`. A message may be
//     longer than that. EINTR never comes out, and EAGAIN of accept_if_waiting alone, which nothing
//     makes pending: nobody waits. End of stream is a receive of 0 bytes. Sends never raise
//     SIGPIPE: they end with -EPIPE or -ECONNRESET.
//  3. cancel() asks; it never completes the operation itself synchronously to the caller's frame:
//     the operation still arrives through wait(), with -ECANCELED if nothing was taken or moved,
//     or with its true result if it had succeeded meanwhile (success wins; no byte, no message and
//     no accepted connection is ever lost). cancel() of an operation that is completed is a no-op.
//  4. One pending operation a direction: a second receive* (or send*, or accept) on a handle while
//     one is pending ends with result_busy at once. One receive and one send at once are fine.
//  5. A handle is index + generation. Operations refer to the slot, not to any stream object.
//     close() marks the slot closing, cancels what is outstanding, which then completes with
//     result_closed (unless it had succeeded), and closes the descriptor at the last completion;
//     with nothing outstanding it closes at once. An operation on a handle that is closed or
//     stale ends with result_closed. close() never blocks.
//  6. The slot, not the awaiter, holds what belongs to the connection: readiness bits, the
//     peer's address as of accept or connect, the notes of the layers above. An accept takes one
//     connection out of the kernel's queue; what nobody has asked for stays there.
//  7. Only wake() may be called from another thread (or a signal handler), and is_ours() from a
//     thread. Everything else belongs to the thread that runs the loop.
//  8. wait() returns when an operation has completed, when wake() was called since the last wait(),
//     or when now() >= deadline; a deadline in the past only collects what is there, at the lowest
//     price at which this world can tell: io_uring reads two words of shared memory, epoll makes
//     one system call. Spurious returns are legal. All that is complete is collected, at most a
//     bounded batch per call: has_more() tells that there may be another one. Nobody is resumed
//     inside. A wake() that ended it, or would have, is spent and counted in `counters.wakes`:
//     whoever looks instead of sleeping must heed it.
//  9. Leases: receive_leased takes a buffer only when bytes have come. The buffer stays valid until
//     return_lease(). At most `options.leases_on_heap` buffers beyond the pool; then result_limit.
// 10. poll_receive and poll_send wait on a handle that watch() made for one of them. They complete
//     when a read (or write) of the descriptor would not wait: data, room, an end, or an error. No
//     byte moves. Once the operation has completed, in whatever way, the handle is stale, and the
//     world knows nothing more of the descriptor: its owner may close or replace it.
// 11. receive_from and send_to are for datagram sockets, the other transfers for streams. On a
//     stream the two end with -EOPNOTSUPP. A stream's transfer on a datagram socket has no defined
//     result. A receive takes a message whole, or cuts it at the end of the buffer and sets
//     `truncated`. A message of 0 bytes is like any other. A send takes a whole message or nothing.
//     Its errors are those of sendmsg(2): -EMSGSIZE, -EDESTADDRREQ without an address and a peer,
//     -ENETUNREACH, -EHOSTUNREACH, -EACCES for a broadcast. Two are our own. -EADDRNOTAVAIL: no
//     port is free for its first send. -ENOBUFS: a unix(7) message names its peer, and the queue of
//     that one is full, or the own one; nothing tells which has room. A connected socket gets
//     -ECONNREFUSED once when nobody is bound at its peer; its next operation returns it. An
//     unconnected one does not learn of it. An address of AF_UNSPEC is refused with
//     -EAFNOSUPPORT; a connect to it would dissolve a connection.
// 12. A destroyed poller has no operation pending: it asserts that.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <coro/base/time.hpp>
#include <coro/core/detail/strand.hpp>
#include <coro/runtime/detail/detached.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace net {
struct tcp_info;      // coro/net/tcp_info.hpp: plain values, which the worlds fill in
struct accept_queue;
}}}  // namespace coro::v0::net

namespace coro { inline namespace v0 { namespace detail {

/// One request moves no more; what is left is for another one, and in between timers and other
/// connections have their turns. Chosen by measurement (docs/performance.md, decision 0040). A task
/// wrote 512 MiB to a peer that drained them; medians of three runs on a busy machine, io_uring and
/// epoll, of the CPU time of the loop: what passed between two firings of a 1 ms timer (of them the
/// 99th percentile), and what a GB cost.
///     no bound   53.8, 24.4 ms   2.29, 1.86 s
///     1 MiB       6.5,  7.6 ms   1.76, 1.45 s
///     256 KiB     2.6,  2.4 ms   1.87, 1.39 s
///     64 KiB      1.4,  2.3 ms   2.39, 2.77 s
inline constexpr std::size_t most_bytes_at_once = 256 * 1024;

enum class address_family : std::uint8_t { ipv4, ipv6, local };
enum class shutdown_how : std::uint8_t { receive, send, both };

/// The socket options that the library knows; `value` units as in the man page named.
enum class socket_option : std::uint8_t {
    reuse_address,       ///< 0/1, socket(7) SO_REUSEADDR
    reuse_port,          ///< 0/1, socket(7) SO_REUSEPORT
    no_delay,            ///< 0/1, tcp(7) TCP_NODELAY
    receive_buffer,      ///< bytes, socket(7) SO_RCVBUF (the kernel returns it doubled)
    send_buffer,         ///< bytes, socket(7) SO_SNDBUF
    linger,              ///< seconds, -1 = off, socket(7) SO_LINGER
    keepalive,           ///< 0/1, socket(7) SO_KEEPALIVE
    keepalive_idle,      ///< seconds, tcp(7) TCP_KEEPIDLE
    keepalive_interval,  ///< seconds, tcp(7) TCP_KEEPINTVL
    keepalive_count,     ///< probes, tcp(7) TCP_KEEPCNT
    user_timeout,        ///< milliseconds, tcp(7) TCP_USER_TIMEOUT
    v6_only,             ///< 0/1, ipv6(7) IPV6_V6ONLY
    quick_ack,           ///< 0/1, tcp(7) TCP_QUICKACK; the kernel changes it by itself
    cork,                ///< 0/1, tcp(7) TCP_CORK
    fast_open,           ///< of a listener: connections, tcp(7) TCP_FASTOPEN
    fast_open_connect,   ///< 0/1, before a connect: tcp(7) TCP_FASTOPEN_CONNECT
    mark,                ///< any number, socket(7) SO_MARK
    traffic_class,       ///< 0 to 255, ip(7) IP_TOS and ipv6(7) IPV6_TCLASS
    priority,            ///< 0 to 6, more with a privilege, socket(7) SO_PRIORITY
    not_sent_low_water,  ///< bytes, tcp(7) TCP_NOTSENT_LOWAT
    maximum_segment,     ///< bytes, tcp(7) TCP_MAXSEG
};

/// The name of a congestion control, with a zero behind it: TCP_CA_NAME_MAX.
using congestion_name = std::array<char, 16>;

/// What an accept that failed says, of the connection or of the listener.
enum class accept_problem : std::uint8_t {
    exhausted,        ///< descriptors or memory have run out; the connection waits still
    dead_connection,  ///< the connection has gone; the next one may be well
    fatal,            ///< the listener cannot accept
};

/// What the errno `error` of accept(2) means: the one place that lists them. A poller passes over
/// dead connections by itself, as far as its turn allows.
[[nodiscard]] constexpr accept_problem classify_accept(int error) noexcept {
    switch (error) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM: return accept_problem::exhausted;
        // accept(2) names these: network errors that were pending on the new connection already.
        case ECONNABORTED:
        case EPROTO:
        case ENETDOWN:
        case ENOPROTOOPT:
        case EHOSTDOWN:
        case ENONET:
        case EHOSTUNREACH:
        case EOPNOTSUPP:  // a listener of ours is a stream socket: it is not meant
        case ENETUNREACH:
        case ETIMEDOUT:
        case ECONNRESET:
        case EPERM: return accept_problem::dead_connection;
        default: return accept_problem::fatal;
    }
}
[[nodiscard]] constexpr bool is_dead_connection(int error) noexcept {
    return classify_accept(error) == accept_problem::dead_connection;
}

/// How a local socket listens at a path of the file system.
struct local_file {
    int backlog = 0;
    int mode = -1;  ///< permissions of the file; -1: what the umask leaves
};
/// Which file listen_local() has made; nothing at an abstract name.
struct file_mark {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::int64_t made = 0;  ///< an inode's number may be given again

    [[nodiscard]] explicit operator bool() const noexcept { return inode != 0; }
    friend bool operator==(const file_mark&, const file_mark&) noexcept = default;
};

/// Deterministic counts for tests and statistics; each backend counts what it really calls.
struct poller_counters {
    std::uint64_t waits = 0;        ///< epoll_wait calls; io_uring_enter calls that may wait
    std::uint64_t enters = 0;       ///< all io_uring_enter calls
    std::uint64_t receives = 0;     ///< receive system calls (epoll) or submissions (io_uring)
    std::uint64_t sends = 0;        ///< send system calls (epoll) or submissions (io_uring)
    std::uint64_t would_block = 0;  ///< system calls that returned EAGAIN
    std::uint64_t controls = 0;     ///< epoll_ctl calls
    std::uint64_t submitted = 0;    ///< operations submitted
    std::uint64_t completed = 0;    ///< operations completed, at once or later
    std::uint64_t cancels = 0;      ///< cancel requests that reached a pending operation
    std::uint64_t overflows = 0;    ///< completion queue overflows survived
    std::uint64_t no_buffers = 0;   ///< results ENOBUFS survived
    std::uint64_t queue_full = 0;   ///< submission queue found full
    std::uint64_t wakes = 0;        ///< wait() calls that met a wake()
};

/// How many things are alive; a test that ends with any of them not 0 has leaked.
struct poller_census {
    std::uint64_t operations = 0;  ///< submitted, not completed
    std::uint64_t sockets = 0;     ///< open slots
    std::uint64_t leases = 0;      ///< leased buffers not returned
};

/// Notes in the slot of a socket who asks for `op` on it. An operation without an owner is a
/// further part of what a task has begun.
inline void note_task(socket_notes& notes, const operation& op) noexcept {
    if (op.owner != nullptr) notes.task = op.owner->number;
}
/// Who waits on a socket, or whose care it is in.
[[nodiscard]] inline std::uint32_t task_of(const socket_notes& notes, const operation* receiver,
                                           const operation* sender) noexcept {
    for (const operation* each : {receiver, sender})
        if (each != nullptr && each->owner != nullptr) return each->owner->number;
    return notes.task;
}

class poller {
public:
    poller() = default;
    poller(const poller&) = delete;
    poller& operator=(const poller&) = delete;
    virtual ~poller() = default;

    /// "io_uring", "epoll" or "simulation".
    [[nodiscard]] virtual std::string_view name() const noexcept = 0;

    // On each function: what it does and returns, how it fails, on which thread. "Loop" is the
    // thread that runs the loop.

    // --- hot half

    /// Begins `op`. True: it is done, phase == completed. False: it will come out of wait().
    /// The loop says it the other way round: scheduler::submit() and submit_io() return true if
    /// it is pending.
    /// Fails through op.result only. Loop.
    [[nodiscard]] virtual bool submit(operation& op) noexcept = 0;
    /// Asks for the end of `op`, which comes out of wait() all the same. Cannot fail; does nothing
    /// to one that is completed. Loop.
    virtual void cancel(operation& op) noexcept = 0;
    /// Appends to `completed` what has completed, and sleeps until something has, until `deadline`
    /// or until a wake(). Cannot fail; may return early. Loop.
    virtual void wait(time_point deadline, operation_list& completed) noexcept = 0;
    /// Whether the last wait() may have left behind something that had come. No system call;
    /// cannot fail. Loop.
    [[nodiscard]] virtual bool has_more() const noexcept = 0;
    /// Makes a wait() under way, or the next one, return. Cannot fail. Any thread, and signal
    /// handlers.
    virtual void wake() noexcept = 0;
    /// The time, monotonic, as deadlines are meant. Cannot fail. Loop.
    [[nodiscard]] virtual time_point now() noexcept = 0;
    /// False in a child process after fork(2), which must not touch what it shares with its parent:
    /// everything above aborts there, and so does what touches a socket; only wake() does nothing.
    /// Cannot fail. Any thread.
    [[nodiscard]] virtual bool is_ours() const noexcept { return true; }
    /// Takes back the buffer of a receive_leased, by what the operation said of it. Aborts when it
    /// was returned before. Loop.
    virtual void return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept = 0;
    /// Lends a buffer to a receive_leased that is completed by another than the poller: sets its
    /// lease_*, and returns the size of the buffer; 0 when the cap is reached or memory is out.
    /// Loop.
    virtual std::size_t lend(operation& op) noexcept = 0;

    // --- cold half: returns 0, or on failure a negated errno or result_closed; then nothing has
    // changed, and no output is written. Nothing of it blocks, but listen_local(). Loop, all of it.

    /// Makes a stream socket of `family`, non-blocking and close-on-exec. -EMFILE, -ENFILE,
    /// -ENOMEM, -EAFNOSUPPORT.
    virtual int open_stream(address_family family, detail::handle& out) noexcept = 0;
    /// Makes a datagram socket of `family`, ipv4 or ipv6 (UDP): bind() it, connect it, or just send
    /// from it. It has no shutdown(), moved_bytes(), nor anything of a listener: -EOPNOTSUPP of
    /// each. Fails as open_stream(), and with -EAFNOSUPPORT for local.
    virtual int open_datagram(address_family family, detail::handle& out) noexcept = 0;
    /// Gives the socket an address; port 0 chooses one. -EADDRINUSE, -EADDRNOTAVAIL, -EACCES,
    /// -EINVAL for a second time: bind(2).
    virtual int bind(detail::handle socket, const socket_address& where) noexcept = 0;
    /// Lets clients connect; at most about `backlog` wait. -EADDRINUSE, -EINVAL: listen(2).
    virtual int listen(detail::handle socket, int backlog) noexcept = 0;
    /// Sets one option. -EINVAL for a value that is out of range; -ENOPROTOOPT, -EOPNOTSUPP for an
    /// option that this socket does not have.
    virtual int set_option(detail::handle socket, socket_option which, int value) noexcept = 0;
    /// Reads one option into `value`. Fails as set_option().
    virtual int get_option(detail::handle socket, socket_option which, int& value) noexcept = 0;
    /// Chooses the congestion control of a TCP socket, tcp(7) TCP_CONGESTION. -ENOENT for a name
    /// that the kernel does not know; -EPERM; -EOPNOTSUPP for another kind of socket. The
    /// simulation has none and takes every name.
    virtual int set_congestion(detail::handle socket, const congestion_name& name) noexcept = 0;
    /// Reads which one it is. Fails as set_congestion().
    virtual int get_congestion(detail::handle socket, congestion_name& name) noexcept = 0;
    /// Our own address, as getsockname(2) says it.
    virtual int local_address(detail::handle socket, socket_address& out) noexcept = 0;
    /// The peer as it was at accept or connect: no system call for IP, one for a local socket.
    /// -ENOTCONN without a peer.
    virtual int remote_address(detail::handle socket, socket_address& out) noexcept = 0;
    /// Ends directions of a connection; what is pending on them completes. -ENOTCONN.
    virtual int shutdown(detail::handle socket, shutdown_how how) noexcept = 0;
    /// The handle is stale from now on; what is pending completes with result_closed. Cannot fail;
    /// does nothing to a stale handle.
    virtual void close(detail::handle socket) noexcept = 0;
    /// Closes a listener on which no accept is pending, unless a connection waits: then -EAGAIN,
    /// and it is as before. The narrowest gap there is between the last look and the close. -EBUSY
    /// while an accept is pending.
    virtual int close_if_idle(detail::handle listener) noexcept = 0;
    /// Bytes of a TCP connection that have arrived here, read or not, and those that the peer's
    /// system has acknowledged, together: two looks differ when a byte has moved between them.
    /// Counted by the kernel (an end of stream may count as a byte), asked for by a system call;
    /// nothing is counted per message of TCP. The poller counts those of a local socket: what was
    /// sent has arrived there. -EOPNOTSUPP for another kind of socket.
    virtual int moved_bytes(detail::handle socket, std::uint64_t& out) noexcept = 0;
    /// Whether a receive that is submitted now would complete at once. Bytes are there, the end of
    /// the stream, or an error; or a receive is pending, so that a second one is busy. Takes
    /// nothing, and no error; one system call. For a connection: -EOPNOTSUPP for a listener and for
    /// datagrams; -ENOMEM.
    virtual int has_input(detail::handle socket, bool& out) noexcept = 0;
    /// Whether the peer has ended its direction, or the connection, whether or not anybody has read
    /// that; one system call. Fails as has_input().
    virtual int has_peer_ended(detail::handle socket, bool& out) noexcept = 0;
    /// What is known of a TCP connection, also of one that has ended; one system call. -EOPNOTSUPP
    /// for another kind of socket, a listener too.
    virtual int tcp_facts(detail::handle socket, net::tcp_info& out) noexcept = 0;
    /// The connections that wait to be accepted by a listener of TCP, and how many may; one system
    /// call. -EOPNOTSUPP for another kind of socket.
    virtual int waiting_clients(detail::handle listener, net::accept_queue& out) noexcept = 0;
    /// The first open socket whose index is not below `from`, or none. `task` is the number of the
    /// task that waits on it, or else of the one that has asked for an operation on it last; 0 when
    /// none has since it came to this poller. Cannot fail.
    virtual detail::handle next_socket(std::uint32_t from, std::uint32_t& task) noexcept = 0;
    /// The notes of an open socket, which live as long as its slot. nullptr for a handle that is
    /// stale or closing.
    virtual socket_notes* notes(detail::handle socket) noexcept = 0;
    /// Gives up one waiting connection of a listener when no descriptor is left: closes the
    /// reserved descriptor, accepts and closes the connection, reserves again. 0 if one was shed;
    /// -EAGAIN when nobody waits; or why nothing could be accepted.
    virtual int shed_connection(detail::handle listener) noexcept = 0;
    /// Lets go of a socket, for another poller of the run. Nothing is lost of what has come or is
    /// to come. -EBUSY while an operation is pending on it; -ENOMEM.
    virtual int detach(detail::handle socket, detached& out) noexcept = 0;
    /// Takes in what another poller of the run, or this one, has let go of. With an error (-ENOMEM)
    /// `what` is as before.
    virtual int attach(detached&& what, detail::handle& out) noexcept = 0;
    /// Takes over a descriptor of the operating system: the poller owns it, and it does not block
    /// any more. -EBADF, -ENOTSOCK, -ENOMEM, -EPROTOTYPE for a socket of neither streams nor
    /// datagrams, and it stays the caller's; -EOPNOTSUPP in a simulation.
    virtual int adopt(int descriptor, detail::handle& out) noexcept = 0;
    /// Gives a socket away: the caller owns the descriptor, and the handle is stale. It blocks
    /// again if it did when it was adopted. -EBUSY while something is pending on it; -EOPNOTSUPP
    /// in a simulation.
    virtual int release(detail::handle socket, int& descriptor) noexcept = 0;
    /// Whether `descriptor` is a connected stream socket of `family`, in which ipv4 stands for both
    /// of IP. Changes nothing. -EBADF, -ENOTSOCK; -EPROTOTYPE for another type; -EAFNOSUPPORT;
    /// -EINVAL for a listener; -ENOTCONN; -EOPNOTSUPP in a simulation.
    virtual int check_stream(int descriptor, address_family family) noexcept = 0;
    /// A handle for one poll_* operation on a descriptor of the program's, which must stay open
    /// until the operation has completed. -EBADF for none; -ENOMEM; -EOPNOTSUPP in a simulation.
    virtual int watch(int descriptor, detail::handle& out) noexcept = 0;
    /// Binds a local socket to `where` and listens. A file at that path which no process listens at
    /// (its server is dead) is replaced. `out` says which file was made. -EADDRINUSE when a server
    /// listens there; -EEXIST for a file that is no socket; -EAGAIN when another process has had
    /// the folder locked, flock(2), for the second that this waits at most; or as bind(). After a
    /// failure there is no file of ours.
    virtual int listen_local(detail::handle socket, const socket_address& where,
                             const local_file& options, file_mark& out) noexcept = 0;
    /// Removes the file that listen_local() has made at `where`, if it is there still. Cannot fail:
    /// one that may not be removed stays, and one whose folder is locked, flock(2).
    virtual void remove_file(const socket_address& where, const file_mark& mark) noexcept = 0;

    /// How many things are alive. Cannot fail.
    [[nodiscard]] virtual poller_census census() const noexcept = 0;

    /// The time of the present turn, set by the scheduler.
    time_point turn_time{};
    poller_counters counters;
};

}}}  // namespace coro::v0::detail
