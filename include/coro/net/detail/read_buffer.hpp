// The bytes that a buffered_stream has read and no task has taken, and the requests for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <coro/base/bytes.hpp>
#include <coro/base/error.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Unread bytes: first those of the spill, then those of the lease. Bytes come in leases; they move
/// to the spill only when what is asked for does not lie in one lease. Without unread bytes, and
/// with no view of the last result alive, both are gone.
class CORO_EXPORT read_buffer {
public:
    /// Of what is read from `source`.
    read_buffer(socket_ref source, std::size_t limit) noexcept;
    /// Requires: no task waits in a read. One moved from has no source.
    read_buffer(read_buffer&& other) noexcept;
    read_buffer& operator=(read_buffer&& other) noexcept;
    ~read_buffer() { drop_spill(); }

    [[nodiscard]] socket_ref source() const noexcept { return source_; }
    [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
    [[nodiscard]] std::size_t size() const noexcept { return spilled() + leased(); }
    [[nodiscard]] std::size_t at_most(std::size_t count) const noexcept {
        return count < size() ? count : size();
    }
    /// Nothing is unread, no task waits in a read, and the end was not seen.
    [[nodiscard]] bool is_idle() const noexcept {
        return size() == 0 && !waited_ && !ended_ && source_.handle;
    }
    /// The end of the stream was seen.
    [[nodiscard]] bool ended() const noexcept { return ended_; }

    /// Throws the io_error, which names the source.
    [[noreturn]] void fail(errc code, const char* verb, std::size_t unread = 0) const;
    /// A request begins: views of earlier results end here. Throws: errc::busy while another waits.
    void begin(const char* verb);

    // --- looking and taking
    [[nodiscard]] std::byte at(std::size_t index) const noexcept;
    /// The end of the first `what` that begins at or after `from`. If there is none yet: npos, and
    /// `from` moves to where the next search may begin.
    [[nodiscard]] std::size_t find_end(std::string_view what, std::size_t& from) const noexcept;
    static constexpr std::size_t npos = static_cast<std::size_t>(-1);
    /// The first `count` bytes in one piece, not taken / taken. Requires: count <= size().
    /// Throws: std::bad_alloc (then nothing has changed).
    [[nodiscard]] const_bytes peek(std::size_t count);
    [[nodiscard]] const_bytes take(std::size_t count);
    /// Takes into.size() bytes and gives back the memory that this empties.
    void take_into(mutable_bytes into) noexcept;

    // --- filling
    /// Lets go of the lease, before a wait for another, of at most as many bytes as this returns.
    /// Requires: size() < bound. Throws: std::bad_alloc (then nothing is lost).
    [[nodiscard]] std::size_t prepare(std::size_t bound);
    /// The same for a read into the spill itself: at most `count` bytes behind those that are
    /// unread. They are never so few that growing for each read would cost more than reading.
    [[nodiscard]] mutable_bytes spill_room(std::size_t count);
    void arrived(net::read_lease&& lease) noexcept;
    /// `count` bytes came into the spill_room(); 0 is the end of the stream.
    void arrived(std::size_t count) noexcept;
    void mark_ended() noexcept { ended_ = true; }

    /// Held by the one that waits for more.
    class reading {
    public:
        explicit reading(read_buffer& buffer) noexcept : buffer_(buffer) { buffer.waited_ = true; }
        reading(const reading&) = delete;
        reading& operator=(const reading&) = delete;
        ~reading() { buffer_.waited_ = false; }

    private:
        read_buffer& buffer_;
    };

private:
    [[nodiscard]] std::size_t spilled() const noexcept { return spill_end_ - spill_begin_; }
    [[nodiscard]] std::size_t leased() const noexcept { return lease_.size() - lease_begin_; }
    [[nodiscard]] const_bytes spill_bytes() const noexcept {
        return {spill_ + spill_begin_, spilled()};
    }
    [[nodiscard]] const_bytes lease_bytes() const noexcept {
        return lease_.bytes().subspan(lease_begin_);
    }
    void advance(std::size_t count) noexcept;
    void drop_taken() noexcept;
    void drop_spill() noexcept;
    void reserve(std::size_t more);
    void spill(std::size_t count);
    void gather();

    socket_ref source_;
    net::read_lease lease_;
    std::size_t lease_begin_ = 0;
    std::byte* spill_ = nullptr;
    std::size_t spill_capacity_ = 0;
    std::size_t spill_begin_ = 0;
    std::size_t spill_end_ = 0;
    std::size_t limit_;
    bool ended_ = false;
    bool waited_ = false;
};

// --- requests. Each has
//   verb                       for errors
//   bool look(read_buffer&)    whether the result is there; throws when it never will be
//   size_t bound(buffer)       how many unread bytes there may be while it waits
//   mutable_bytes direct(buffer), void arrived(buffer, count)
//                              where to read to past the leases, empty: nowhere
//   R take(read_buffer&)       the result, after look() was true

/// Reads this large go past the leases: no copy.
inline constexpr std::size_t direct_bytes = 4096;

/// The common part of requests for a known number of bytes.
struct CORO_EXPORT counted_request {
    [[nodiscard]] static mutable_bytes direct(read_buffer& buffer, std::size_t needed);
    static void arrived(read_buffer& buffer, std::size_t count) noexcept { buffer.arrived(count); }
    /// Whether `needed` bytes are there. Throws: limit_exceeded, end_of_stream.
    static bool look(const read_buffer& buffer, std::size_t needed, const char* verb);
    static void check_limit(const read_buffer& buffer, std::size_t needed, const char* verb);
};

class some_request {
public:
    static constexpr const char* verb = "read_some";
    explicit some_request(mutable_bytes into) noexcept : into_(into) {}

    [[nodiscard]] bool look(const read_buffer& buffer) const noexcept {
        return moved_ > 0 || buffer.size() > 0 || buffer.ended() || into_.empty();
    }
    [[nodiscard]] static std::size_t bound(const read_buffer& buffer) noexcept {
        return buffer.limit();
    }
    [[nodiscard]] mutable_bytes direct(const read_buffer&) const noexcept {
        return into_.size() < direct_bytes ? mutable_bytes() : into_;
    }
    void arrived(read_buffer& buffer, std::size_t count) noexcept {
        moved_ = count;
        if (count == 0) buffer.mark_ended();
    }
    [[nodiscard]] std::size_t take(read_buffer& buffer) const noexcept {
        if (moved_ > 0) return moved_;
        const std::size_t count = buffer.at_most(into_.size());
        buffer.take_into(into_.first(count));
        return count;
    }

private:
    mutable_bytes into_;
    std::size_t moved_ = 0;
};

class fill_request : public counted_request {
public:
    static constexpr const char* verb = "read_exact";
    explicit fill_request(mutable_bytes into) noexcept : into_(into) {}

    [[nodiscard]] bool look(const read_buffer& buffer) const {
        return counted_request::look(buffer, into_.size(), verb);
    }
    [[nodiscard]] static std::size_t bound(const read_buffer& buffer) noexcept {
        return buffer.limit();
    }
    [[nodiscard]] mutable_bytes direct(read_buffer& buffer) const {
        return counted_request::direct(buffer, into_.size());
    }
    void take(read_buffer& buffer) const noexcept { buffer.take_into(into_); }

private:
    mutable_bytes into_;
};

class view_request : public counted_request {
public:
    static constexpr const char* verb = "read_exact";
    explicit view_request(std::size_t count) noexcept : count_(count) {}

    [[nodiscard]] bool look(const read_buffer& buffer) const {
        return counted_request::look(buffer, count_, verb);
    }
    [[nodiscard]] static std::size_t bound(const read_buffer& buffer) noexcept {
        return buffer.limit();
    }
    [[nodiscard]] mutable_bytes direct(read_buffer& buffer) const {
        return counted_request::direct(buffer, count_);
    }
    [[nodiscard]] const_bytes take(read_buffer& buffer) const { return buffer.take(count_); }

private:
    std::size_t count_;
};

class peek_request : public counted_request {
public:
    static constexpr const char* verb = "peek";
    explicit peek_request(std::size_t count) noexcept : count_(count) {}

    [[nodiscard]] bool look(const read_buffer& buffer) const {
        check_limit(buffer, count_, verb);
        return buffer.size() >= count_ || buffer.ended();
    }
    [[nodiscard]] static std::size_t bound(const read_buffer& buffer) noexcept {
        return buffer.limit();
    }
    [[nodiscard]] mutable_bytes direct(read_buffer& buffer) const {
        return counted_request::direct(buffer, count_);
    }
    [[nodiscard]] const_bytes take(read_buffer& buffer) const {
        return buffer.peek(buffer.at_most(count_));
    }

private:
    std::size_t count_;
};

/// The common part of requests for bytes up to a delimiter.
class CORO_EXPORT delimited_request {
public:
    explicit delimited_request(std::string_view delimiter) noexcept;

    [[nodiscard]] static std::size_t bound(const read_buffer& buffer) noexcept {
        return buffer.limit();
    }
    [[nodiscard]] static mutable_bytes direct(const read_buffer&) noexcept { return {}; }
    static void arrived(const read_buffer&, std::size_t) noexcept {}

protected:
    bool find(const read_buffer& buffer) noexcept;
    [[nodiscard]] std::size_t end() const noexcept { return end_; }

private:
    std::string_view delimiter_;
    std::size_t from_ = 0;
    std::size_t end_ = read_buffer::npos;
};

class CORO_EXPORT until_request : public delimited_request {
public:
    static constexpr const char* verb = "read_until";
    using delimited_request::delimited_request;

    bool look(const read_buffer& buffer);
    [[nodiscard]] std::string_view take(read_buffer& buffer) const;
};

class CORO_EXPORT line_request : public delimited_request {
public:
    static constexpr const char* verb = "read_line";
    line_request() noexcept : delimited_request("\n") {}

    bool look(const read_buffer& buffer);
    [[nodiscard]] std::optional<std::string_view> take(read_buffer& buffer) const;
};

}}}  // namespace coro::v0::detail
