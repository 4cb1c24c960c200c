// The census of TCP sockets: how many there are in each state, and which; of this network namespace
// or of one process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <coro/base/detail/export.hpp>
#include <coro/base/time.hpp>
#include <coro/net/address.hpp>
#include <coro/net/tcp_info.hpp>

namespace coro { inline namespace v0 { namespace net {

/// A set of states: `tcp_state::close_wait | tcp_state::time_wait`.
class tcp_states {
public:
    /// No state.
    constexpr tcp_states() noexcept = default;
    constexpr tcp_states(tcp_state one) noexcept  // NOLINT(google-explicit-constructor): a set
        : bits_(1u << static_cast<unsigned>(one)) {}

    [[nodiscard]] static constexpr tcp_states all() noexcept {
        return tcp_states((1u << tcp_states_end) - 2, by_bits());
    }
    [[nodiscard]] constexpr bool has(tcp_state one) const noexcept {
        return (bits_ & tcp_states(one).bits_) != 0;
    }
    /// Returns the states of both sets.
    [[nodiscard]] constexpr tcp_states with(tcp_states other) const noexcept {
        return tcp_states(bits_ | other.bits_, by_bits());
    }
    /// Bit `n` stands for the state with that number.
    [[nodiscard]] constexpr std::uint32_t bits() const noexcept { return bits_; }

private:
    struct by_bits {};
    constexpr tcp_states(std::uint32_t bits, by_bits) noexcept : bits_(bits) {}

    std::uint32_t bits_ = 0;
};
/// Returns the states of both sets.
[[nodiscard]] constexpr tcp_states operator|(tcp_states one, tcp_states other) noexcept {
    return one.with(other);
}
/// Returns the set of the two.
[[nodiscard]] constexpr tcp_states operator|(tcp_state one, tcp_state other) noexcept {
    return tcp_states(one).with(other);
}

/// How many sockets of TCP there are in each state, of IPv4 and IPv6 together.
struct tcp_census {
    std::array<std::size_t, tcp_states_end> by_state{};  ///< the number of the state is the index

    [[nodiscard]] std::size_t of(tcp_state state) const noexcept {
        return by_state[static_cast<std::size_t>(state)];
    }
    [[nodiscard]] std::size_t total() const noexcept {
        std::size_t sum = 0;
        for (const std::size_t each : by_state) sum += each;
        return sum;
    }
};

/// One socket of TCP, as the kernel tells of it.
struct tcp_socket {
    tcp_state state = tcp_state::closed;
    endpoint local;
    endpoint remote;  ///< of a listener: any address, port 0
    /// The number that `/proc/PID/fd` shows as `socket:[12345]`. 0: no process has it any more,
    /// as all in TIME_WAIT, or none has it yet, in the queue of a listener.
    std::uint64_t inode = 0;
    /// The user that has made it. None where the kernel has forgotten it: in TIME_WAIT, in a
    /// handshake, and in FIN_WAIT_2 once its program has closed it.
    std::optional<std::uint32_t> uid;
    std::uint32_t receive_queue = 0;  ///< bytes not read; of a listener: connections that wait
    std::uint32_t send_queue = 0;     ///< bytes not acknowledged; of a listener: its limit
    /// TIME_WAIT, and FIN_WAIT_2 of a socket that its program has closed: so much is left of it.
    std::optional<duration> ends_in;
    /// CLOSE_WAIT has lasted at least so long: since the peer's last segment, which may be an
    /// answer to a probe of ours. The kernel does not note the moment at which it begins.
    std::optional<duration> close_wait_at_least;
    /// It has lasted at most so long: since the peer's last byte of data, or since the handshake.
    std::optional<duration> close_wait_at_most;
};

// None of these is a snapshot. The kernel tells of its sockets in batches, so one that changes
// meanwhile may be missed, or come twice.
// Each of these asks the kernel synchronously, and takes time for each socket of the namespace: 50
// ms for 100 000 of them. They are for reports and tools. A server calls them through blocking().
// They work outside of run() too. See: sock_diag(7), proc(5).

/// Returns how many sockets of TCP there are in the network namespace of this thread.
/// Throws: io_error (protocol_not_supported or no_such_file_or_directory where the kernel has no
/// sock_diag; permission_denied; not_supported in a simulation); std::bad_alloc.
[[nodiscard]] CORO_EXPORT tcp_census count_tcp_sockets();
/// Returns the sockets of that namespace that are in one of the states `which`, in no order.
/// Throws: as count_tcp_sockets().
[[nodiscard]] CORO_EXPORT std::vector<tcp_socket> list_tcp_sockets(
    tcp_states which = tcp_states::all());

/// Returns how many of the sockets are open in the process `pid`: those of `/proc/PID/fd`. None of
/// them is in TIME_WAIT, since no process has such a one.
/// Throws: also io_error (no_such_process; permission_denied: it is another user's; not_supported:
/// it is in another network namespace than this thread).
[[nodiscard]] CORO_EXPORT tcp_census count_tcp_sockets_of(int pid);
/// Returns those of them that are in one of the states `which`.
/// Throws: as count_tcp_sockets_of().
[[nodiscard]] CORO_EXPORT std::vector<tcp_socket> list_tcp_sockets_of(
    int pid, tcp_states which = tcp_states::all());

/// A connection of the running loop whose peer has ended its direction: our side has not closed.
struct close_wait {
    endpoint local;
    endpoint remote;
    duration at_least{};  ///< as tcp_socket::close_wait_at_least
    duration at_most{};
    /// The task that waits on the connection, or else the one that has read, written or accepted it
    /// last on this loop, or that serve() has started for it. 0: none has since it came to this
    /// loop. It is the number that current_task_number() and the dump have.
    std::uint32_t task = 0;
    /// Where that task waits now: its line of dump_tasks(). Empty: it has ended.
    std::string where;
};

/// Returns the TCP connections of the running loop that are in CLOSE_WAIT, with the task that left
/// each so. Many that grow older are a leak of descriptors: a handler that does not read, or a
/// stream that is kept. Takes a system call for each connection of the loop, and one walk over the
/// tasks of the loop where any is found.
/// In a simulation `at_least` is exact. Requires: called inside of run(). Throws: std::bad_alloc.
[[nodiscard]] CORO_EXPORT std::vector<close_wait> list_close_waits();

}}}  // namespace coro::v0::net
