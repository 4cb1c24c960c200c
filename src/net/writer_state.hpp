// The state of a buffered_writer: bytes that wait, bytes that are being sent, and who waits for
// that.
//
// Rules:
//  1. `sending_` is what the operation in flight refers to; nobody touches it until the completion.
//     `queued_` collects meanwhile. Together they hold at most `limit_` bytes.
//  2. At most one send: `in_flight_` (ours) or `held_` (a large write, sent by its own task from
//     where it lies). pump() begins the next one when there is neither.
//  3. Writes are accepted in the order in which they were made: while one waits for room, none is
//     accepted before it. A flush waits for a position in the stream, so flushes end in order.
//  4. `failure_` is for ever and empties the buffers. `busy_` is told once and keeps them.
//  5. The operation has no owner strand: its completion comes to completed(), which answers false.
//     When the writer has gone meanwhile (`orphaned_`), the last completion deletes the state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <system_error>

#include <coro/net/buffered_writer.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Bytes in a block that grows up to what its user appends; empty, it holds no memory.
class send_buffer {
public:
    send_buffer() noexcept = default;
    send_buffer(const send_buffer&) = delete;
    send_buffer& operator=(const send_buffer&) = delete;
    ~send_buffer() { clear(); }

    [[nodiscard]] std::byte* data() const noexcept { return block_ + begin_; }
    [[nodiscard]] std::size_t size() const noexcept { return end_ - begin_; }
    /// Makes room for `more` bytes at the end. Throws: std::bad_alloc.
    void reserve(std::size_t more, std::size_t limit);
    /// Requires: reserved.
    void append(const_bytes from) noexcept;
    void drop_front(std::size_t count) noexcept;
    void clear() noexcept;
    void swap(send_buffer& other) noexcept;

private:
    std::byte* block_ = nullptr;
    std::size_t capacity_ = 0;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

/// A write that waits: for room in the buffer, or, when it is large, for the line to be free.
class [[nodiscard("co_await it")]] send_turn_awaiter final
    : public writer_awaiter<send_turn_awaiter> {
public:
    send_turn_awaiter(writer_state& state, const write_request& request) noexcept
        : writer_awaiter(state), request_(request) {}

    bool try_now() noexcept;
    void cancel_wait() noexcept override;
    [[nodiscard]] const char* verb() const noexcept { return request_.verb; }

private:
    friend class writer_state;

    const write_request& request_;
};

class writer_state final : public turn_end {
public:
    writer_state(socket_ref socket, std::size_t limit) noexcept;
    /// The writer has gone. Deletes the state, now or at the completion of the send in flight.
    void release() noexcept;

    static void* operator new(std::size_t size) { return allocate_block(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        free_block(memory, size);
    }

    /// True: accepted. False: it must wait. Throws: the stored error, limit_exceeded, bad_alloc.
    bool write_now(const write_request& request);
    task<> write_later(const write_request& request);
    /// True: done, or wait.error_ is set.
    bool flush_now(flush_awaiter& wait) noexcept;
    bool take_turn_now(send_turn_awaiter& wait) noexcept;
    void wait_in_list(flush_awaiter& wait) noexcept { flushing_.push_back(wait); }
    void wait_in_list(send_turn_awaiter& wait) noexcept { waiting_.push_back(wait); }

    /// One of those who wait for the line has gone: it may have stood before a smaller one.
    void left_line() noexcept { wake(); }

    [[nodiscard]] std::size_t unsent() const noexcept {
        return failure_ ? 0 : static_cast<std::size_t>(written_ - sent_);
    }
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    [[nodiscard]] bool is_idle() const noexcept {
        return !failure_ && !busy_ && !held_ && sent_ == written_ && waiting_.empty();
    }
    [[nodiscard]] socket_ref own_socket() const noexcept { return socket_; }
    [[noreturn]] void throw_error(std::error_code error, const char* verb) const;

private:
    class held_turn;
    struct send_operation : operation {
        send_operation(writer_state& of, detail::handle on) noexcept
            : operation(opcode::send, on), self(of) {}
        writer_state& self;
    };

    [[nodiscard]] bool is_large(const write_request& request) const noexcept {
        return request.size() >= limit_;
    }
    [[nodiscard]] std::size_t buffered() const noexcept { return sending_.size() + queued_.size(); }
    bool accept(const write_request& request);
    bool accept_or_fail(send_turn_awaiter& wait) noexcept;
    bool take_error(std::error_code& error) noexcept;
    void schedule() noexcept;
    void pump() noexcept;
    void settle() noexcept;
    void wake() noexcept;
    void completed() noexcept;
    void fail(std::error_code error, bool by_kernel) noexcept;
    void break_off(std::error_code error, bool by_kernel) noexcept;
    void report_lost() const noexcept;

    socket_ref socket_;
    std::size_t limit_;
    send_operation send_;
    send_buffer sending_;
    send_buffer queued_;
    intrusive_list<flush_awaiter> flushing_;
    intrusive_list<send_turn_awaiter> waiting_;
    std::uint64_t written_ = 0;  ///< accepted since the beginning
    std::uint64_t sent_ = 0;     ///< of these, taken by the kernel
    std::size_t lost_ = 0;       ///< accepted, and never sent although the connection was well
    std::error_code failure_;
    bool busy_ = false;
    bool in_flight_ = false;
    bool held_ = false;
    bool kernel_failed_ = false;
    bool orphaned_ = false;
};

}}}  // namespace coro::v0::detail
