// stream: a connection of any kind that carries bytes, and the operations on it.
#pragma once

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <coro/base/time.hpp>
#include <coro/core/task.hpp>
#include <coro/net/detail/socket.hpp>

namespace coro { inline namespace v0 { namespace detail {
class lease_awaiter;
struct stream_access;
}}}

namespace coro { inline namespace v0 { namespace net {
class transport;
}}}

namespace coro { inline namespace v0 { namespace net {

/// The most buffers that one vectored read or write takes.
inline constexpr std::size_t most_slices = 16;

/// A read buffer lent by the loop's pool, with the bytes that have come. Move-only; goes back at
/// the end of its life, which must be on its loop. Empty at the end of the stream.
class read_lease {
public:
    read_lease() noexcept = default;
    read_lease(read_lease&& other) noexcept { swap(other); }
    read_lease& operator=(read_lease&& other) noexcept {
        read_lease(std::move(other)).swap(*this);
        return *this;
    }
    ~read_lease() {
        if (data_ != nullptr) give_back();
    }

    /// The bytes that were read; empty at the end of the stream.
    [[nodiscard]] mutable_bytes bytes() const noexcept { return {data_, size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] explicit operator bool() const noexcept { return size_ != 0; }

private:
    friend class detail::lease_awaiter;
    read_lease(detail::loop& loop, const detail::operation& from) noexcept
        : loop_(loop.id),
          data_(static_cast<std::byte*>(from.lease_data)),
          size_(static_cast<std::size_t>(from.result)),
          id_(from.lease_id),
          from_heap_(from.lease_from_heap) {}
    CORO_EXPORT void give_back() noexcept;
    void swap(read_lease& other) noexcept {
        std::swap(loop_, other.loop_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(id_, other.id_);
        std::swap(from_heap_, other.from_heap_);
    }

    detail::loop_id loop_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
    std::uint32_t id_ = 0;
    bool from_heap_ = false;
};

}}}  // namespace coro::v0::net

namespace coro { inline namespace v0 { namespace detail {

class [[nodiscard("co_await it")]] read_awaiter final : public io_awaiter<read_awaiter> {
public:
    read_awaiter(socket_ref on, mutable_bytes into) noexcept
        : io_awaiter(opcode::receive, on) {
        data = into.data();
        size = into.size();
    }
    bool try_now() noexcept { return size == 0 && ends_with_nothing(); }
    [[nodiscard]] std::size_t finish() const { return count(); }
};

class [[nodiscard("co_await it")]] write_awaiter final : public io_awaiter<write_awaiter> {
public:
    write_awaiter(socket_ref on, const_bytes from) noexcept : io_awaiter(opcode::send, on) {
        data = const_cast<std::byte*>(from.data());  // only read from: it is a send
        size = from.size();
    }
    bool try_now() noexcept { return size == 0 && ends_with_nothing(); }
    [[nodiscard]] std::size_t finish() const { return count(); }
};

/// A vectored read or write of at most most_slices buffers; the rest is for the next call.
class [[nodiscard("co_await it")]] vectored_awaiter final : public io_awaiter<vectored_awaiter> {
public:
    template <typename Span>
    vectored_awaiter(opcode what, socket_ref on, std::span<const Span> buffers) noexcept
        : io_awaiter(what, on) {
        size = buffers.size() < slices_.size() ? buffers.size() : slices_.size();
        std::size_t bytes = 0;
        for (std::size_t i = 0; i < size; ++i) {
            slices_[i] = {const_cast<std::byte*>(buffers[i].data()), buffers[i].size()};
            bytes |= buffers[i].size();
        }
        data = slices_.data();
        empty_ = bytes == 0;
    }
    bool try_now() noexcept { return empty_ && ends_with_nothing(); }
    [[nodiscard]] std::size_t finish() const { return count(); }

private:
    std::array<io_slice, net::most_slices> slices_;
    bool empty_;
};

class [[nodiscard("co_await it")]] lease_awaiter final : public io_awaiter<lease_awaiter> {
public:
    lease_awaiter(socket_ref on, std::size_t at_most) noexcept
        : io_awaiter(opcode::receive_leased, on) {
        size = at_most;
    }

    /// Asked for nothing it lends nothing: pollers read into a whole buffer.
    bool try_now() noexcept { return size == 0 && ends_with_nothing(); }
    [[nodiscard]] net::read_lease finish() const {
        return count() == 0 ? net::read_lease() : net::read_lease(loop(), *this);
    }
};

/// Repeats a transfer until all has moved, without waking the task in between.
template <bool Sending>
class [[nodiscard("co_await it")]] exact_awaiter final : public io_awaiter<exact_awaiter<Sending>> {
public:
    exact_awaiter(socket_ref on, void* where, std::size_t bytes) noexcept
        : io_awaiter<exact_awaiter<Sending>>(Sending ? opcode::send : opcode::receive, on) {
        this->data = where;
        this->size = bytes;
        this->advance = [](operation& op) noexcept {
            return static_cast<exact_awaiter&>(op).go_on();
        };
    }

    bool try_now() noexcept {
        if (this->size != 0) return false;
        this->set_outcome(wait_outcome::done);
        return true;
    }
    bool start() noexcept {
        if (is_broken(this->own_socket(), way)) {
            this->result = result_broken;
            this->set_outcome(wait_outcome::done);
            return false;
        }
        if (io_awaiter<exact_awaiter>::start()) return true;
        return !go_on();
    }
    void finish() const {
        if (this->size == 0) return;
        if (moved_ != 0) mark_broken(this->own_socket(), way);
        if (this->result == 0) throw_end_of_stream(this->own_socket(), moved_);
        throw_io(this->result, verb(), this->own_socket(), moved_);
    }
    [[nodiscard]] const char* verb() const noexcept { return Sending ? "write_all" : "read_exact"; }

private:
    static constexpr direction way = Sending ? direction::sending : direction::receiving;

    [[noreturn]] CORO_EXPORT static void throw_end_of_stream(socket_ref socket,
                                                             std::size_t moved);

    /// After a completion: true when the whole transfer has ended, false when it was submitted
    /// again.
    bool go_on() noexcept {
        for (;;) {
            if (this->result <= 0) return true;
            const auto moved = static_cast<std::size_t>(this->result);
            this->data = static_cast<std::byte*>(this->data) + moved;
            this->size -= moved;
            moved_ += moved;
            if (this->size == 0) return true;
            // The cancellation may have found the operation in the moment of its success: it is
            // not asked again, so it must be looked at here.
            if (scope_access::cancelled(*this->strand().scope)) {
                this->result = -ECANCELED;
                return true;
            }
            if (submit_io(*this, this->strand())) return false;
        }
    }

    std::size_t moved_ = 0;
};

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

/// A connection that carries bytes: TCP, or what a transport makes of another one. A class derived
/// from it adds ways to make one, and nothing to read or write; its objects may be moved into a
/// stream. Move-only. One task may read while another writes; two readers (or two writers) at once
/// are errc::busy. Destroying it closes it at once, without blocking. Waits of other tasks on it
/// end with errc::closed, and the kernel still sends bytes that were written. Belongs to the loop
/// on which it was made; closing works on every loop of a run. Errors name the verb and describe().
class stream {
public:
    /// A stream without a connection: every operation on it is errc::closed.
    stream() noexcept = default;
    /// Stands on `of`, which it owns. Requires: called inside of run(). Throws: std::bad_alloc.
    CORO_EXPORT explicit stream(std::unique_ptr<transport> of);

    /// Returns `std::size_t`: how many bytes were read, at least one and at most `into.size()`; 0
    /// at end of stream, or, at once, when `into` is empty. A read or write moves at most 256 KiB,
    /// so that the other tasks of the loop have their turns.
    /// Requires: `into` outlives the wait; no other read is pending on this stream.
    /// Suspends until data, EOF, error or cancellation; resumes on the stream's loop.
    /// Throws: io_error (connection_reset, timed_out, errc::busy, errc::closed); cancelled.
    /// Cancel safety: on `cancelled` no byte has been taken from the stream.
    /// See: recv(2); RFC 9293 §3.10.
    [[nodiscard("co_await it")]] detail::read_awaiter read_some(
        mutable_bytes into) noexcept {
        return {socket_.ref(), into};
    }
    /// Returns `std::size_t`: the same into several buffers, filled in order; the first most_slices
    /// of them.
    /// See: readv(2).
    [[nodiscard("co_await it")]] detail::vectored_awaiter read_some(
        std::span<const mutable_bytes> into) noexcept {
        return {detail::opcode::receive_vectored, socket_.ref(), into};
    }
    /// Returns `read_lease`: at least one byte, at most `at_most`. The loop's pool lends the buffer
    /// only when bytes have come: an idle connection holds none. The lease is empty at end of
    /// stream. When the pool is exhausted the buffer is allocated, up to a cap, then
    /// errc::limit_exceeded. Otherwise as read_some.
    [[nodiscard("co_await it")]] detail::lease_awaiter read_leased(
        std::size_t at_most = static_cast<std::size_t>(-1)) noexcept {
        return {socket_.ref(), at_most};
    }

    /// Returns `std::size_t`: how many bytes of `from` were written, at least one, at most 256 KiB;
    /// 0, at once, when `from` is empty. Most callers want write_all.
    /// Requires: `from` outlives the wait; no other write is pending on this stream.
    /// Suspends while the kernel's send buffer is full; resumes on the stream's loop.
    /// Throws: io_error (broken_pipe, connection_reset, timed_out, errc::busy, errc::closed);
    /// cancelled. Never raises SIGPIPE. Cancel safety: on `cancelled` no byte has been sent.
    /// See: send(2).
    [[nodiscard("co_await it")]] detail::write_awaiter write_some(
        const_bytes from) noexcept {
        return {socket_.ref(), from};
    }
    /// Returns `std::size_t`: the same from several buffers, in order; the first most_slices of
    /// them. See: writev(2).
    [[nodiscard("co_await it")]] detail::vectored_awaiter write_some(
        std::span<const const_bytes> from) noexcept {
        return {detail::opcode::send_vectored, socket_.ref(), from};
    }

    /// Ends the sending direction (half-close): the peer reads the end of the stream after what was
    /// written; reading goes on. Does not block. Throws: io_error (not_connected, errc::closed).
    /// See: shutdown(2).
    CORO_EXPORT void shutdown_send();

    /// Returns nothing. Half-closes, reads and drops what the peer still sends until it closes too,
    /// and closes. So the peer gets everything that was written even if it was still sending. A
    /// plain close() with unread input makes the kernel send a reset, which destroys data on its
    /// way.
    /// Suspends for at most `limit`; then, or on any error, closes at once.
    /// Throws: cancelled (closed all the same). See: RFC 9293 §3.6; RFC 2525 §2.17.
    [[nodiscard("co_await it or spawn it")]] CORO_EXPORT task<> close_gracefully(
        time_span limit = std::chrono::seconds(30));

    /// Closes at once; idempotent. Pending operations end with errc::closed.
    void close() noexcept { socket_.close(); }

    /// Closes at once by a reset. Unsent bytes are thrown away, and the peer meets
    /// connection_reset: it cannot take that for a clean end. For what went wrong in the midst of a
    /// message. Idempotent; does not block. Pending operations end with errc::closed. A Unix socket
    /// has no reset: its peer meets connection_reset if it had sent what was not read here, else
    /// the end of the stream.
    /// See: RFC 9293 §3.10.5; socket(7) SO_LINGER.
    void abort() noexcept { socket_.abort(); }

    /// Says that it ends by a reset, as by abort(), if an exception destroys it, so that the peer
    /// does not take a part for the whole. close() is in order all the same, and so is the end of a
    /// stream whose task is cancelled because a stop is over, unless an exact write was cut
    /// (group_options::cancel_ends_stop, until_stop). serve says it of what it accepts.
    CORO_EXPORT void reset_on_failure(bool on = true) noexcept;

    /// Whether there is a socket (not default-made, moved from or closed here).
    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
    /// An exact transfer was cut short on it: framing is lost, later ones of that direction throw
    /// errc::broken.
    [[nodiscard]] bool is_broken() const noexcept {
        return detail::is_broken(socket_.ref(), detail::direction::either);
    }

    /// Kind and peer, as errors name them: an address, or what the transport says of itself. Empty
    /// for a stream that is closed.
    [[nodiscard]] CORO_EXPORT std::string describe() const;
    /// Bytes that have moved so far, in both directions together: two looks differ when a byte has
    /// moved between them. For TCP the kernel counts, in a system call. 0 for a closed stream.
    [[nodiscard]] CORO_EXPORT std::uint64_t activity() const noexcept;

private:
    friend struct detail::stream_access;

protected:
    explicit stream(detail::socket_ref from) noexcept : socket_(from) {}

    detail::owned_socket socket_;
};

}}}  // namespace coro::v0::net
