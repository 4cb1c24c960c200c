// The table of sockets and the cold half of the waist, shared by the two pollers over a kernel.
#pragma once

#include <time.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "poller/fork_mark.hpp"
#include "runtime/poller.hpp"
#include "runtime/poller_options.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// CLOCK_MONOTONIC: the clock of a kernel's world and of all its pollers.
[[nodiscard]] inline time_point monotonic_now() noexcept {
    timespec monotonic{};
    ::clock_gettime(CLOCK_MONOTONIC, &monotonic);
    return time_point(std::chrono::seconds(monotonic.tv_sec) +
                      std::chrono::nanoseconds(monotonic.tv_nsec));
}

/// How often a connect is repeated that a local listener had no room for: unix(7) tells nobody when
/// there is room again.
inline constexpr duration connect_pause = std::chrono::milliseconds(1);

/// What belongs to a socket and outlives the stream object. Addresses of slots are stable.
struct socket_slot {
    int descriptor = -1;
    std::uint32_t generation = 0;  ///< 0 is never valid; counts up at each reuse
    std::uint32_t index = 0;

    bool open = false;
    bool closing = false;    ///< close() was called; the descriptor goes at the last completion
    bool listening = false;
    bool watched = false;    ///< made by watch(): never open, closing from the start, for poll_*
    bool borrowed = false;   ///< the descriptor is not ours to close
    bool was_blocking = false;  ///< when it was adopted: release() gives it back so
    /// unix(7): `moved` is meant instead of `remote`, and a receive may end early at discarded
    /// ancillary data.
    bool local = false;
    bool datagram = false;      ///< for receive_from and send_to, and no other transfer

    // For the backend: the pending operation of each direction (accept counts as receiving).
    operation* receiver = nullptr;
    operation* sender = nullptr;

    // What is known about readiness; io_uring looks at `readable` of listeners only.
    bool registered = false;
    bool readable = true;   ///< optimistic: the first attempt finds out
    bool writable = true;
    bool hung_up = false;   ///< RDHUP, HUP or ERR seen: a short receive no longer means "empty"
    std::uint32_t in_flight = 0;  ///< requests the kernel still holds for this slot (io_uring)
    socket_notes notes;           ///< for the layers above

    union {
        compact_address remote{};  ///< the peer
        std::uint64_t moved;       ///< bytes received and sent: here the kernel does not count
    };
};

/// Base of epoll_poller and uring_poller. Owns descriptors; translates, decides nothing.
class posix_sockets : public poller {
public:
    explicit posix_sockets(const poller_options& options);
    ~posix_sockets() override;  ///< closes what is open; the reserved descriptor too

    [[nodiscard]] bool is_ours() const noexcept final { return mark_.is_ours(); }
    [[nodiscard]] time_point now() noexcept final;  ///< CLOCK_MONOTONIC
    int open_stream(address_family family, detail::handle& out) noexcept override;
    int open_datagram(address_family family, detail::handle& out) noexcept override;
    int bind(detail::handle socket, const socket_address& where) noexcept override;
    int listen(detail::handle socket, int backlog) noexcept override;
    int set_option(detail::handle socket, socket_option which, int value) noexcept override;
    int get_option(detail::handle socket, socket_option which, int& value) noexcept override;
    int set_congestion(detail::handle socket, const congestion_name& name) noexcept override;
    int get_congestion(detail::handle socket, congestion_name& name) noexcept override;
    int local_address(detail::handle socket, socket_address& out) noexcept override;
    int remote_address(detail::handle socket, socket_address& out) noexcept override;
    int shutdown(detail::handle socket, shutdown_how how) noexcept override;
    int moved_bytes(detail::handle socket, std::uint64_t& out) noexcept override;
    int has_input(detail::handle socket, bool& out) noexcept override;
    int has_peer_ended(detail::handle socket, bool& out) noexcept override;
    int tcp_facts(detail::handle socket, net::tcp_info& out) noexcept override;
    int waiting_clients(detail::handle listener, net::accept_queue& out) noexcept override;
    detail::handle next_socket(std::uint32_t from, std::uint32_t& task) noexcept override;
    socket_notes* notes(detail::handle socket) noexcept override;
    int shed_connection(detail::handle listener) noexcept override;
    int adopt(int descriptor, detail::handle& out) noexcept override;
    int release(detail::handle socket, int& descriptor) noexcept override;
    int check_stream(int descriptor, address_family family) noexcept override;
    int detach(detail::handle socket, detached& out) noexcept final;
    int attach(detached&& what, detail::handle& out) noexcept final;
    int close_if_idle(detail::handle listener) noexcept override;
    int watch(int descriptor, detail::handle& out) noexcept final;
    int listen_local(detail::handle socket, const socket_address& where, const local_file& options,
                     file_mark& out) noexcept override;
    void remove_file(const socket_address& where, const file_mark& mark) noexcept override;
    void close(detail::handle socket) noexcept final;
    /// Operations, open slots, leases.
    [[nodiscard]] poller_census census() const noexcept override;
    /// The heap half only; a backend with a pool overrides it and passes on what is from the heap.
    void return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept override;

protected:
    /// The open slot of `socket`, or nullptr when the handle is stale or closing.
    [[nodiscard]] socket_slot* find(detail::handle socket) noexcept;
    /// The slot of a watch() that has not ended, or nullptr. find() never returns it.
    [[nodiscard]] socket_slot* find_watched(detail::handle socket) noexcept;
    /// What an operation ends with that was asked to end.
    [[nodiscard]] static std::int32_t ended_result(const socket_slot& slot) noexcept {
        return slot.closing && !slot.watched ? std::int32_t{result_closed} : -ECANCELED;
    }
    /// A fresh slot that owns `descriptor`; nullptr (descriptor not taken) without memory.
    socket_slot* make_slot(int descriptor) noexcept;
    /// A slot for a descriptor that is still to come, or nullptr without memory: open_slot() it, or
    /// give_slot() it back.
    socket_slot* take_slot() noexcept;
    void open_slot(socket_slot& slot, int descriptor) noexcept;
    void give_slot(socket_slot& slot) noexcept {
        slot.remote = {};
        free_.push_back(slot.index);
    }
    /// Closes the descriptor, frees the slot. Requires: nothing pending, nothing in flight.
    void free_slot(socket_slot& slot) noexcept;
    [[nodiscard]] static detail::handle handle_of(const socket_slot& slot) noexcept {
        return {slot.index, slot.generation};
    }
    /// Whether make_slot() will succeed: ask before a call whose descriptor must not be lost.
    [[nodiscard]] bool slot_available() noexcept { return !free_.empty() || add_chunk(); }
    /// The slot of that number, open or not: for events whose generation is checked by the caller.
    [[nodiscard]] socket_slot& slot_at(std::uint32_t index) noexcept {
        return chunks_[index / slots_per_chunk][index % slots_per_chunk];
    }
    /// Asks the kernel for the peer's address, getpeername(2): 0 or a negated errno.
    static int ask_peer(int descriptor, socket_address& out) noexcept;
    /// Keeps the peer's address of a connection that `where` was asked for, or that was accepted
    /// (then the kernel has written it into `slot.remote`).
    static void keep_peer(socket_slot& slot, const socket_address& where) noexcept;
    static void keep_accepted_peer(socket_slot& slot, bool local) noexcept;
    /// 0, or why `op`, a receive_from or send_to, means nothing on this socket.
    [[nodiscard]] static std::int32_t check_datagram(const socket_slot& slot,
                                                     const operation& op) noexcept {
        if (!slot.datagram) return -EOPNOTSUPP;
        return op.code == opcode::send_to ? check_where(slot, op.datagram->peer) : 0;
    }
    /// 0, or why `slot` may not connect or send to `where`: an address that is too long, or of
    /// AF_UNSPEC. On a datagram socket Linux takes that for no address, or for one of IPv4.
    [[nodiscard]] static std::int32_t check_where(const socket_slot& slot,
                                                  const socket_address& where) noexcept;
    /// sendmsg(2) has returned EAGAIN for `from`. 0 when the send waits for room in the socket's
    /// own queue, which the kernel announces. Otherwise the error that ends it. -ENOBUFS: the
    /// message names a unix(7) peer, whose queue may be the full one. -EADDRNOTAVAIL: no port is
    /// free.
    [[nodiscard]] static std::int32_t why_no_room(const socket_slot& slot,
                                                  const datagram_request& from) noexcept;
    /// What moved on a socket of unix(7).
    static void count_moved(socket_slot& slot, std::int32_t bytes) noexcept {
        if (bytes > 0) slot.moved += static_cast<std::uint32_t>(bytes);
    }

    /// Asks the backend to end what is pending on a slot that is closing; returns true when
    /// nothing was pending, so that the caller frees the slot at once.
    virtual bool begin_close(socket_slot& slot) noexcept = 0;
    /// Called before a descriptor leaves; the backend forgets it (epoll_ctl DEL).
    /// Requires: nothing pending. Returns 0 or a negated errno.
    virtual int forget(socket_slot& slot) noexcept = 0;

    // The lease pool of the readiness world and the heap fallback of both. (io_uring keeps its own
    // ring of buffers and overrides return_lease; it uses the heap half.)
    struct lease {
        std::uint32_t id = 0;
        void* data = nullptr;
        bool from_heap = false;
    };
    /// False when the named cap on heap leases is reached or memory is out. Both halves keep
    /// leases_out_ and heap_leases_out_; a backend counts only the leases of its own pool.
    bool take_heap_lease(lease& out) noexcept;
    void give_heap_lease(void* data) noexcept;

    const fork_mark mark_;
    poller_options options_;
    std::uint64_t pending_operations_ = 0;  ///< kept by the backend
    std::uint64_t leases_out_ = 0;          ///< all leases, from pool and heap
    std::uint32_t heap_leases_out_ = 0;

private:
    static constexpr std::size_t slots_per_chunk = 256;

    bool add_chunk() noexcept;
    static int set_traffic_class(int descriptor, int value) noexcept;
    static int look_for(short events, const socket_slot* slot) noexcept;
    int open_socket(address_family family, int type, detail::handle& out) noexcept;
    void vacate_slot(socket_slot& slot) noexcept;
    /// The slot of a socket whose descriptor leaves: nothing is pending on it, and the backend has
    /// forgotten it. Otherwise 0 becomes why not.
    socket_slot* find_leaving(detail::handle socket, int& why_not) noexcept;

    std::vector<std::unique_ptr<socket_slot[]>> chunks_;
    std::size_t slot_count_ = 0;  ///< of all chunks; a quotient would cost each find() four more
    std::vector<std::uint32_t> free_;  ///< reserved for all slots: freeing never allocates
    std::uint64_t open_slots_ = 0;
    bool lingering_ = false;  ///< some socket was given a linger time: close must not wait for it
    int reserved_descriptor_ = -1;  ///< given up for a moment by shed_connection()
};

}}}  // namespace coro::v0::detail
