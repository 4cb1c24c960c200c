// transport: the base of a stream that is no socket (TLS, a pipe in memory, a recorder). Two parts
// make one: transfer and relay. examples/recorder.cpp only forwards; `copier` in
// tests/conformance/stream_conformance_test.cpp has buffers of its own, as TLS has.
//
// All of it belongs to one loop: each function is called on its thread, resumes no task, and may
// not throw where it is noexcept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <coro/base/bytes.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace detail {
class transport_table;
}}}

namespace coro { inline namespace v0 { namespace net {

class stream;
class transport;

/// One read or write that a task awaits on a stream, as its transport sees it. A small view: copy
/// it, keep it. It is valid from submit() until it was completed, exactly once. The buffers of the
/// task stay where they are until then; the transport frees nothing.
class transfer {
public:
    /// None.
    transfer() noexcept = default;
    [[nodiscard]] explicit operator bool() const noexcept { return of_ != nullptr; }
    friend bool operator==(transfer, transfer) noexcept = default;

    /// Whether the task writes: then rest() and take() say what. Otherwise it reads: then room()
    /// and put() fill what it has asked for.
    [[nodiscard]] CORO_EXPORT bool sends() const noexcept;
    /// Bytes that were moved so far, by moved(count), put() and take().
    [[nodiscard]] std::size_t moved() const noexcept {
        return static_cast<std::size_t>(of_->result);
    }

    /// The next piece of memory that a read wants filled. Empty: nothing more is wanted, or no
    /// buffer could be lent to a leased read: complete() then says which. Requires: !sends().
    [[nodiscard]] CORO_EXPORT mutable_bytes room() const noexcept;
    /// The next piece of what is to be sent. Empty: nothing is left. Requires: sends().
    [[nodiscard]] CORO_EXPORT const_bytes rest() const noexcept;
    /// The first `count` bytes of room() or rest() have moved.
    void moved(std::size_t count) const noexcept {
        of_->result += static_cast<std::int32_t>(count);
    }
    /// Copies as many bytes of `from` as a read has room for, and returns how many.
    CORO_EXPORT std::size_t put(const_bytes from) const noexcept;
    /// Copies as many bytes of a write as fit into `into`, and returns how many.
    CORO_EXPORT std::size_t take(mutable_bytes into) const noexcept;

    /// It has ended well with what was moved, which may be less than was asked for. A read of which
    /// nothing was moved has met the end of the stream. A write has moved at least one byte.
    CORO_EXPORT void complete() const noexcept;
    /// It has failed: the task meets `error` as an io_error with verb and describe(). If bytes were
    /// moved before, it ends well with them: keep the error for the next transfer.
    CORO_EXPORT void fail(std::error_code error) const noexcept;
    /// It was cancelled, and nothing was moved; if bytes were moved, it ends well with them.
    CORO_EXPORT void withdraw() const noexcept;

private:
    friend class relay;
    friend class detail::transport_table;
    explicit transfer(detail::operation& of) noexcept : of_(&of) {}

    detail::operation* of_ = nullptr;
};

/// A request of a transport's own to the stream below it; a member of the transport. One request at
/// a time, the first one when the transport belongs to a stream. When it has ended,
/// transport::ended() is called, perhaps before the call that began it returns. The buffers must
/// stay until then.
class relay : private detail::operation {
public:
    /// `below` is a member of `of` too, and stays where it is. guardian ends that stream when it
    /// finds `of` silent, and a failure resets `of` if that stream was told to be reset.
    CORO_EXPORT relay(transport& of, stream& below) noexcept;
    CORO_EXPORT ~relay();

    /// Asks the stream below for what `what` asks for, with the buffers of `what`: nothing is
    /// copied. Requires: nothing of `what` has moved.
    CORO_EXPORT void forward(transfer what) noexcept;
    /// Reads at least one byte into `into`. Requires: that is not empty.
    CORO_EXPORT void receive(mutable_bytes into) noexcept;
    /// Writes at least one byte of `from`. Requires: that is not empty.
    CORO_EXPORT void send(const_bytes from) noexcept;
    /// Asks for the request to end early. It ends all the same, with nothing moved or with success;
    /// does nothing when it has ended.
    CORO_EXPORT void cancel() noexcept;
    [[nodiscard]] bool is_pending() const noexcept { return pending_; }

    /// Bytes that the request has moved; 0 at the end of the stream, or when error() is set.
    [[nodiscard]] std::size_t moved() const noexcept {
        return result > 0 ? static_cast<std::size_t>(result) : 0;
    }
    /// Not set after success; std::errc::operation_canceled after a cancel().
    [[nodiscard]] CORO_EXPORT std::error_code error() const noexcept;
    /// The transfer that was forwarded and not passed on; none for receive() and send(). Once it
    /// was completed in another way it must not be used.
    [[nodiscard]] transfer forwarded() const noexcept { return for_; }
    /// The bytes of forwarded() that this request has moved, piece by piece. Call it with 0, then
    /// with the sum of the sizes of the pieces before. Empty: there is no more.
    [[nodiscard]] CORO_EXPORT const_bytes piece(std::size_t from) const noexcept;
    /// Completes forwarded() with the result of this request.
    CORO_EXPORT void pass_on() noexcept;

private:
    void ask() noexcept;
    void has_ended() noexcept;
    void give_back_lease() noexcept;

    transport& of_;
    stream& below_;
    transfer for_;
    bool pending_ = false;  ///< asked, and ended() does not know the answer yet
    bool telling_ = false;  ///< ended() is being called
    bool again_ = false;    ///< and another request has ended meanwhile
};

/// Derive from it, and make a stream of it: `net::stream(std::make_unique<my_transport>(...))`. The
/// stream's loop owns it from then on. The loop destroys it at the end of a turn, after close(),
/// when no transfer and no relay of it is pending any more.
///
/// It meets at most one read and one write at a time, and no empty ones. The library itself returns
/// errc::busy, and errc::closed after close(), without asking the transport.
class CORO_EXPORT transport {
public:
    transport() = default;
    transport(const transport&) = delete;
    transport& operator=(const transport&) = delete;
    virtual ~transport() = default;

    /// A task reads or writes. Complete `what` before this returns, or keep it and complete it
    /// later, exactly once, also after cancel() and close(). The loop then resumes the task. A
    /// transport with a handshake begins it at the first one, unless its factory has begun it.
    virtual void submit(transfer what) noexcept = 0;
    /// The task wants to wait no longer. Complete `what` soon, now or later: withdraw() it if
    /// nothing was moved, else complete() it. No byte may be lost. May come twice, since close()
    /// cancels too. A transfer that was forwarded is not withdrawn: cancel its relay.
    virtual void cancel(transfer what) noexcept = 0;
    /// Ends the sending direction after what was sent; does not block. Throws: io_error.
    virtual void shutdown_send() = 0;
    /// The stream is closed, or gone. Does not block; closes what is below. Called once. Pending
    /// transfers were cancelled before; the library returns errc::closed for those that are
    /// withdrawn. A request of a relay that is still pending must end soon: the run cannot end
    /// before it.
    virtual void close() noexcept = 0;
    /// The same by a reset: the peer must not take it for a clean end. Called in place of close().
    virtual void abort() noexcept = 0;
    /// Bytes that have moved so far, in both directions: two looks differ when one has moved.
    [[nodiscard]] virtual std::uint64_t activity() const noexcept = 0;
    /// Whether a read that began now would end at once, by bytes, by the end or by an error. Asked
    /// only while no read is pending. As it stands it asks the stream below, if there is a relay;
    /// without one it says true, so that nobody takes the stream for quiet. Override it where the
    /// transport itself keeps bytes that no task has read.
    [[nodiscard]] virtual bool has_input() const noexcept;
    /// Kind and peer, "tls example.org:443", for errors and task dumps. The text stays as long as
    /// the transport.
    [[nodiscard]] virtual std::string_view describe() const noexcept = 0;
    /// A request of a relay of this transport has ended. Passes its result on. It may ask again,
    /// and close the stream below. shutdown_send() of that stream may throw, which must not leave
    /// this function.
    virtual void ended(relay& which) noexcept { which.pass_on(); }

private:
    friend class relay;
    friend class detail::transport_table;

    std::uint32_t relays_pending_ = 0;
    const stream* below_ = nullptr;  ///< the stream that a relay asks
};

}}}  // namespace coro::v0::net
