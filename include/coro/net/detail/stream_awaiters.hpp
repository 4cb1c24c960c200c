// How reads and writes of a stream wait.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>

#include <coro/base/time.hpp>
#include <coro/core/task.hpp>
#include <coro/net/detail/socket.hpp>
#include <coro/net/read_lease.hpp>

namespace coro { inline namespace v0 { namespace detail {

class [[nodiscard("co_await it")]] read_awaiter final : public io_awaiter<read_awaiter> {
public:
    read_awaiter(socket_ref on, mutable_bytes into) noexcept
        : io_awaiter(opcode::receive, on) {
        buffer = {into.data(), into.size()};
    }
    bool try_now() noexcept { return buffer.size == 0 && ends_with_nothing(); }
    [[nodiscard]] std::size_t finish() const { return count(); }
};

class [[nodiscard("co_await it")]] write_awaiter final : public io_awaiter<write_awaiter> {
public:
    write_awaiter(socket_ref on, const_bytes from) noexcept : io_awaiter(opcode::send, on) {
        buffer = {const_cast<std::byte*>(from.data()), from.size()};
    }
    bool try_now() noexcept { return buffer.size == 0 && ends_with_nothing(); }
    [[nodiscard]] std::size_t finish() const { return count(); }
};

/// A vectored read or write of at most most_slices buffers; the rest is for the next call.
class [[nodiscard("co_await it")]] vectored_awaiter final : public io_awaiter<vectored_awaiter> {
public:
    template <typename Span>
    vectored_awaiter(opcode what, socket_ref on, std::span<const Span> buffers) noexcept
        : io_awaiter(what, on) {
        const std::size_t count =
            buffers.size() < slices_.size() ? buffers.size() : slices_.size();
        std::size_t bytes = 0;
        for (std::size_t i = 0; i < count; ++i) {
            slices_[i] = {const_cast<std::byte*>(buffers[i].data()), buffers[i].size()};
            bytes |= buffers[i].size();
        }
        slices = {slices_.data(), count};
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
        most = at_most;
    }

    /// Asked for nothing it lends nothing: pollers read into a whole buffer.
    bool try_now() noexcept { return most == 0 && ends_with_nothing(); }
    [[nodiscard]] net::read_lease finish() const {
        return count() == 0 ? net::read_lease() : net::read_lease(loop(), *this);
    }
};

/// Repeats a transfer until all has moved, without waking the task in between.
template <bool Sending>
class [[nodiscard("co_await it")]] exact_awaiter final : public io_awaiter<exact_awaiter<Sending>> {
public:
    exact_awaiter(socket_ref on, void* start, std::size_t bytes) noexcept
        : io_awaiter<exact_awaiter<Sending>>(Sending ? opcode::send : opcode::receive, on) {
        this->buffer = {start, bytes};
        this->advance = [](operation& op) noexcept {
            return static_cast<exact_awaiter&>(op).go_on();
        };
    }

    bool try_now() noexcept {
        if (this->buffer.size != 0) return false;
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
        if (this->buffer.size == 0) return;
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
            this->buffer.data = static_cast<std::byte*>(this->buffer.data) + moved;
            this->buffer.size -= moved;
            moved_ += moved;
            if (this->buffer.size == 0) return true;
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

using send_exactly_awaiter = exact_awaiter<true>;
using receive_exactly_awaiter = exact_awaiter<false>;

}}}  // namespace coro::v0::detail
