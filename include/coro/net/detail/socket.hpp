// The reference of streams and listeners to a socket, and the base of the operations on it.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <coro/base/bytes.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/net/address.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The name of a stream or listener: a loop, and a handle in its poller's table or in its table of
/// transports. Copies refer to the same one. The loop may be gone: it is named by its id.
struct socket_ref {
    socket_ref() = default;
    socket_ref(const detail::loop* on, detail::handle of) noexcept : loop(on->id), handle(of) {}

    loop_id loop;
    detail::handle handle;
};

[[noreturn]] CORO_EXPORT void used_elsewhere(socket_ref socket) noexcept;
/// Aborts when a socket is used on another loop than its own.
inline void check_home(socket_ref socket) noexcept {
    if (socket.loop && !is_here(socket.loop)) [[unlikely]] used_elsewhere(socket);
}

/// Owns a socket: closes it at the end. Never blocks; pending operations on it end with
/// errc::closed.
class owned_socket {
public:
    owned_socket() noexcept = default;
    explicit owned_socket(socket_ref from) noexcept : ref_(from) {}
    owned_socket(owned_socket&& other) noexcept : ref_(std::exchange(other.ref_, {})) {}
    owned_socket& operator=(owned_socket&& other) noexcept {
        if (this != &other) {
            close();
            ref_ = std::exchange(other.ref_, {});
        }
        return *this;
    }
    /// Closes, unless an exception ends what a server has accepted (serve_options::reset_failed).
    ~owned_socket() {
        if (ref_.handle) end_socket(ref_);
    }

    [[nodiscard]] const socket_ref& ref() const noexcept { return ref_; }
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(ref_.handle); }
    /// Gives the socket up without closing it.
    [[nodiscard]] detail::handle release() noexcept { return std::exchange(ref_, {}).handle; }
    /// It is the same connection, with another loop and handle.
    void moved_to(socket_ref where) noexcept { ref_ = where; }
    void close() noexcept {
        if (ref_.handle) close_socket(std::exchange(ref_, {}));
    }

    /// Closes by a reset; unsent bytes are thrown away.
    void abort() noexcept {
        if (ref_.handle) reset_socket(std::exchange(ref_, {}));
    }

private:
    CORO_EXPORT static void close_socket(socket_ref which) noexcept;
    CORO_EXPORT static void reset_socket(socket_ref which) noexcept;
    CORO_EXPORT static void end_socket(socket_ref which) noexcept;

    socket_ref ref_;
};

/// Submits `op` for `strand` to its poller or its transport. True: pending, the strand must give
/// way. False: done, op.result is set.
CORO_EXPORT bool submit_io(operation& op, detail::strand& strand) noexcept;
/// Asks for the end of `op`, which completes all the same.
CORO_EXPORT void cancel_io(operation& op, detail::loop& loop) noexcept;
/// Throws the io_error (or `cancelled`) that a negative result means; `moved` bytes went before it.
[[noreturn]] CORO_EXPORT void throw_io(std::int32_t result, const char* verb, socket_ref socket,
                                       std::size_t moved = 0);
CORO_EXPORT void describe_io(text_sink& out, const char* verb, socket_ref socket) noexcept;
/// Exact transfers mark a socket when they are cut short: later exact transfers throw
/// errc::broken.
enum class direction : std::uint8_t { receiving = 1, sending = 2, either = 3 };
CORO_EXPORT void mark_broken(socket_ref socket, direction which) noexcept;
[[nodiscard]] CORO_EXPORT bool is_broken(socket_ref socket, direction which) noexcept;
/// What stream::was_interrupted() says. throw_io() marks what it throws `cancelled` of.
[[nodiscard]] CORO_EXPORT bool was_interrupted(socket_ref socket) noexcept;

/// The name of an operation in errors and dumps.
[[nodiscard]] constexpr const char* verb_of(opcode code) noexcept {
    switch (code) {
        case opcode::receive:
        case opcode::receive_vectored:
        case opcode::receive_leased: return "recv";
        case opcode::receive_from: return "recvfrom";
        case opcode::send:
        case opcode::send_vectored: return "send";
        case opcode::send_to: return "sendto";
        case opcode::accept:
        case opcode::accept_if_waiting: return "accept";
        case opcode::connect: return "connect";
        case opcode::poll_receive: return "wait until readable";
        case opcode::poll_send: return "wait until writable";
    }
    return "io";
}

/// The base of the awaiters that submit one operation on a socket. `Derived` supplies finish(), and
/// may have a verb() of its own. Idle connections wait in these: no member more than needed.
template <typename Derived>
class io_awaiter : public library_awaiter<Derived, operation> {
    using base = library_awaiter<Derived, operation>;

public:
    bool try_now() const noexcept { return false; }
    bool start() noexcept {
        this->set_outcome(wait_outcome::done);  // whatever becomes of it is in `result`
        return submit_io(*this, this->strand());
    }
    void cancel_wait() noexcept override { cancel_io(*this, this->loop()); }
    void describe(text_sink& out) const noexcept override {
        describe_io(out, static_cast<const Derived&>(*this).verb(), own_socket());
    }
    [[nodiscard]] const char* verb() const noexcept { return verb_of(this->code); }
    /// Cancelled before it has asked for anything.
    [[noreturn]] void throw_cancelled() const {
        throw_io(-ECANCELED, static_cast<const Derived&>(*this).verb(), own_socket());
    }

protected:
    io_awaiter(opcode what, socket_ref on) noexcept : base(what, on.handle) {
        check_home(on);
    }
    ~io_awaiter() = default;

    [[nodiscard]] socket_ref own_socket() const noexcept { return {&this->loop(), this->target}; }
    /// For try_now(): asked for no byte, nobody is asked. The kernel would wait for a byte that it
    /// then leaves where it is.
    bool ends_with_nothing() noexcept {
        operation::result = 0;
        this->set_outcome(wait_outcome::done);
        return true;
    }
    /// The result as a count of bytes. Throws when it is none.
    [[nodiscard]] std::size_t count() const {
        const std::int32_t answer = operation::result;
        if (answer < 0) [[unlikely]]
            throw_io(answer, static_cast<const Derived&>(*this).verb(), own_socket());
        return static_cast<std::size_t>(answer);
    }
};

}}}  // namespace coro::v0::detail
