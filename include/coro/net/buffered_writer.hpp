// buffered_writer: collects small writes of one turn into one send, bounded, with explicit flush.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <system_error>

#include <coro/base/detail/assert.hpp>
#include <coro/core/task.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/detail/ready_or_task.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The buffer and its send operation. Made for a writer, and outlives it until the operation has
/// completed.
class writer_state;

struct CORO_EXPORT writer_release {
    void operator()(writer_state* state) const noexcept;
};
using writer_handle = std::unique_ptr<writer_state, writer_release>;

/// The bytes of one write: it hands over all of them, or none.
struct write_request {
    const char* verb = "write";
    const_bytes payload;
    std::size_t payload_limit = std::numeric_limits<std::size_t>::max();
    std::array<std::byte, 4> prefix{};
    std::uint32_t prefix_size = 0;

    [[nodiscard]] std::size_t size() const noexcept { return prefix_size + payload.size(); }
};

class [[nodiscard("co_await it")]] CORO_EXPORT buffered_write final
    : public ready_or_task<buffered_write> {
public:
    buffered_write(writer_state& state, const write_request& request) noexcept
        : state_(state), request_(request) {}

    bool try_now();
    void hold() const noexcept {}  // it is written already
    task<> wait();
    void finish() const noexcept {}

private:
    writer_state& state_;
    write_request request_;
};

class [[nodiscard("co_await it")]] CORO_EXPORT flush_awaiter final
    : public library_awaiter<flush_awaiter>,
                                                                  public list_node<flush_awaiter> {
public:
    explicit flush_awaiter(writer_state& state) noexcept : state_(state) {}

    bool try_now() noexcept;
    bool start() noexcept;
    void finish() const;
    void cancel_wait() noexcept override;
    void describe(text_sink& out) const noexcept override;

private:
    friend class writer_state;
    void end(std::error_code error) noexcept;

    writer_state& state_;
    std::uint64_t position_ = 0;  ///< everything before it is to be sent
    std::error_code error_;
};

struct buffered_writer_access;

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

/// Writes to the connection of `stream` through a buffer. All that is written leaves at the end of
/// the loop's turn, in one send, without a flush: sixteen small replies cost one system call. At
/// most one send is in flight. Several tasks may write at once: each write stays in one piece, in
/// the order in which the writes were made. An empty writer holds no buffer.
///
/// Errors of sending come out of the next write or flush, and of every one after it: the buffered
/// bytes are gone. Only errc::busy (somebody else was writing to the stream itself) is told once
/// and keeps the bytes: flush again.
///
/// Move-only; tasks that wait in it go on. One moved from aborts when it is used.
///
/// `stream` may be moved, but not closed, while there are unsent bytes. Before you close it,
/// half-close it or destroy the writer: co_await flush(). A writer that is destroyed with unsent
/// bytes tells the report hook how many, unless the connection had failed. A send in flight goes on
/// without it.
class buffered_writer {
public:
    /// options.limit: the most unsent bytes that are held.
    CORO_EXPORT explicit buffered_writer(const net::stream& stream, buffered_options options = {});

    /// Returns nothing. Copies `from` into the buffer, whole. When it is as large as the limit or
    /// larger it is sent from where it lies, after everything that is buffered.
    /// Requires: `from` outlives the wait; the writer too.
    /// Suspends only while the buffer has no room for it, or until a large one has been sent;
    /// resumes on the stream's loop.
    /// Throws: io_error (broken_pipe, connection_reset, timed_out, errc::busy, errc::closed,
    /// errc::broken); cancelled.
    /// Cancel safety: on `cancelled` nothing of `from` was written, if it is smaller than the
    /// limit. If a part of a large one had been sent, cancelled::bytes_transferred() says how
    /// much, and later writes throw errc::broken. See: send(2).
    [[nodiscard("co_await it")]] detail::buffered_write write(
        const_bytes from) noexcept {
        return {state(), detail::write_request{.payload = from}};
    }

    /// Returns nothing. Begins to send at once, and waits until the kernel has taken everything
    /// that was written before.
    /// Suspends while the kernel's send buffer is full; resumes on the stream's loop.
    /// Throws: io_error, as write(); cancelled.
    /// Cancel safety: on `cancelled` nothing is lost: the bytes stay queued and are sent.
    [[nodiscard("co_await it")]] detail::flush_awaiter flush() noexcept {
        return detail::flush_awaiter(state());
    }

    /// Bytes that were written and that the kernel has not taken.
    [[nodiscard]] CORO_EXPORT std::size_t unsent() const noexcept;

private:
    friend struct detail::buffered_writer_access;

    detail::writer_state& state() const noexcept {
        CORO_ASSERT(state_ != nullptr, "a buffered_writer was used that was moved from");
        return *state_;
    }

    detail::writer_handle state_;
};

}}}  // namespace coro::v0::net

namespace coro { inline namespace v0 { namespace detail {

/// For what writes by requests of its own.
struct buffered_writer_access {
    static buffered_write write(net::buffered_writer& to, const write_request& request) noexcept {
        return {to.state(), request};
    }
};

}}}  // namespace coro::v0::detail
