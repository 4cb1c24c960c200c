// One asynchronous request to a poller: what an awaiter fills in, what a backend reports.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {

class strand;

/// Names a socket in its poller's table: never a descriptor number. A generation of 0 is "none";
/// a handle whose generation is no longer that of its slot is stale: result_closed. A poller's
/// index is below `first_transport`; what begins there is in the loop's table of transports, and to
/// a poller such a handle is stale.
struct handle {
    static constexpr std::uint32_t first_transport = 1u << 31;

    std::uint32_t index = 0;
    std::uint32_t generation = 0;

    [[nodiscard]] explicit operator bool() const noexcept { return generation != 0; }
    [[nodiscard]] bool is_transport() const noexcept { return index >= first_transport; }
    friend bool operator==(detail::handle, detail::handle) noexcept = default;
};

/// A socket address in the kernel's own layout (sockaddr_in, sockaddr_in6, sockaddr_un), opaque
/// here so that no header needs the system's. The longest is a path of unix(7) without room for its
/// final zero, which getsockname(2) adds: 111 bytes. For operations and cold calls; what waits for
/// long must not hold one.
struct socket_address {
    alignas(8) std::array<std::byte, 112> bytes{};
    std::uint32_t size = 0;
};

/// Same layout as `struct iovec` (checked where it meets the kernel).
struct io_slice {
    void* data = nullptr;
    std::size_t size = 0;
};

/// The bytes of one transfer; those of a send are only read.
struct buffer_request {
    void* data = nullptr;
    std::size_t size = 0;
};
/// The buffers of one transfer, in order.
struct slices_request {
    io_slice* first;
    std::size_t count;
};

/// One message to or from a datagram socket. It stands in the awaiter, beside its operation, and
/// stays where it is until that has completed.
struct datagram_request {
    io_slice bytes;            ///< where to receive, or what to send: the whole message
    /// receive_from: the sender, an answer; size 0 for one without a name. send_to: to whom; size
    /// 0: to the peer that the socket is connected to.
    socket_address peer{};
    bool truncated = false;    ///< receive_from, an answer: the rest did not fit, and is lost
};

/// Each says which member of the request it has -> what a result >= 0 means. Those that receive
/// stand before those that send: receives() below.
enum class opcode : std::uint8_t {
    receive,            ///< buffer               -> bytes, 0 at end of stream
    receive_vectored,   ///< slices               -> bytes, 0 at end of stream
    receive_leased,     ///< most                 -> bytes; lease_data, lease_id are set if > 0
    accept,             ///< none                 -> 0; accepted is set
    accept_if_waiting,  ///< none; never pending  -> 0; accepted is set; -EAGAIN: nobody waits
    receive_from,       ///< datagram             -> bytes of one message, 0 for an empty one
    poll_receive,       ///< none; on a watch()   -> 0 when a read would not wait; ends it
    send,               ///< buffer               -> bytes, possibly fewer than asked
    send_vectored,      ///< slices               -> bytes, possibly fewer than asked
    connect,            ///< where                -> 0
    send_to,            ///< datagram             -> bytes, all of the message
    poll_send,          ///< none; on a watch()   -> 0 when a write would not wait; ends it
};

/// The direction of an operation: one of each may be pending on a handle.
[[nodiscard]] constexpr bool receives(opcode code) noexcept { return code <= opcode::poll_receive; }
/// Whether an operation sends bytes, as no connect and no wait for readiness does.
[[nodiscard]] constexpr bool sends(opcode code) noexcept {
    return code == opcode::send || code == opcode::send_vectored;
}
/// Whether an operation waits for readiness, on a handle of its own.
[[nodiscard]] constexpr bool polls(opcode code) noexcept {
    return code == opcode::poll_receive || code == opcode::poll_send;
}
/// Whether an operation moves one message, on a datagram socket.
[[nodiscard]] constexpr bool moves_datagram(opcode code) noexcept {
    return code == opcode::receive_from || code == opcode::send_to;
}
/// Whether an operation takes a connection out of the queue of a listener.
[[nodiscard]] constexpr bool accepts(opcode code) noexcept {
    return code == opcode::accept || code == opcode::accept_if_waiting;
}

/// Results beyond the negated errno range, with the meaning that `errc` gives them.
enum : std::int32_t {
    result_closed = -10001,  ///< the handle was closed, before or during the operation
    result_busy = -10002,    ///< another operation of this direction is pending on the handle
    result_broken = -10004,  ///< never from a poller: an exact transfer was cut short before
    result_limit = -10003,   ///< a named cap was reached (leases under CORO's cap)
    result_other = -10005,   ///< never from a poller: the table of transports has the error
};

enum class operation_phase : std::uint8_t { idle, submitted, completed };

/// Lives in the awaiter, hence in the frame of whoever waits: submitting allocates nothing. Must
/// stay where it is from submit() until it is completed; its destructor asserts that.
class operation {
public:
    explicit operation(opcode what, detail::handle on = {}) noexcept : target(on), code(what) {}
    operation(const operation&) = delete;
    operation& operator=(const operation&) = delete;
    ~operation() {
        CORO_ASSERT(phase != operation_phase::submitted,
                    "an operation was destroyed while the kernel may still use it: cancel it and "
                    "wait for its completion first");
    }

    // --- the request; set before submit(), unchanged until completion
    // A kind that needs more than two words names a struct in its awaiter, as datagrams do, and
    // so would a file with its offset: what waits for long does not grow.
    union {
        buffer_request buffer{};      ///< receive, send
        slices_request slices;        ///< receive_vectored, send_vectored
        std::size_t most;             ///< receive_leased: bytes at most; 0: as a buffer holds
        const socket_address* where;  ///< connect
        datagram_request* datagram;   ///< receive_from, send_to
        detail::handle accepted;      ///< accept, which asks for nothing: the new socket, an answer
    };
    detail::handle target;
    opcode code;

    // --- the answer; valid once phase == completed
    operation_phase phase = operation_phase::idle;
    bool lease_from_heap = false;    ///< receive_leased: the pool was empty, a buffer was allocated
    std::uint8_t backend_state = 0;  ///< for the backend alone
    std::uint8_t wait_state = 0;     ///< for the awaiter alone, see library_awaiter
    std::int32_t result = 0;         ///< >= 0, a negated errno, or one of result_*
    std::uint32_t lease_id = 0;      ///< receive_leased: what return_lease() wants back
    union {
        void* lease_data = nullptr;  ///< receive_leased: where the bytes are
        void* backend_pointer;       ///< any other code: for the backend alone
    };

    // --- links
    operation* next = nullptr;  ///< in the list of completed, or in a list of the backend
    /// Who waits. The scheduler makes it ready when the operation has completed.
    detail::strand* owner = nullptr;
    /// If set, is called at completion, before `owner` is made ready; returns false when it has
    /// submitted the operation again (a partial transfer that must go on) or parked it elsewhere.
    bool (*advance)(operation& self) noexcept = nullptr;
};

static_assert(sizeof(void*) != 8 || sizeof(operation) == 72, "every wait on a socket holds one");

/// Singly linked FIFO of completed operations.
class operation_list {
public:
    operation_list() noexcept = default;
    operation_list(const operation_list&) = delete;
    operation_list& operator=(const operation_list&) = delete;

    [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }

    void push(operation& op) noexcept {
        op.next = nullptr;
        *tail_ = &op;
        tail_ = &op.next;
    }

    /// Appends all of `other`, which is empty afterwards.
    void append(operation_list& other) noexcept {
        if (other.empty()) return;
        *tail_ = other.head_;
        tail_ = other.tail_;
        other.head_ = nullptr;
        other.tail_ = &other.head_;
    }

    operation* pop() noexcept {
        operation* op = head_;
        if (op == nullptr) return nullptr;
        head_ = op->next;
        if (head_ == nullptr) tail_ = &head_;
        op->next = nullptr;
        return op;
    }

    /// The others are linked behind it; nullptr of an empty list.
    [[nodiscard]] operation* front() const noexcept { return head_; }

private:
    operation* head_ = nullptr;
    operation** tail_ = &head_;
};

}}}  // namespace coro::v0::detail
