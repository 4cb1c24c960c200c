// A connection on its way from one loop of a run to another: it belongs to no poller.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <coro/base/detail/export.hpp>
#include <coro/base/time.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// What the layers above keep with a socket. The poller only stores it: made with the slot, gone
/// with it. A socket that moves to another loop takes it along.
struct socket_notes {
    /// The number of the task that has it in its care: the guardian's, or who has asked for an
    /// operation last. Of this loop: a socket that moves leaves it behind.
    std::uint32_t task = 0;
    std::uint16_t broken = 0;           ///< bits of net's `direction`: framing is lost
    bool interrupted = false;           ///< a read or write of it has ended with `cancelled`
    bool reset_failed = false;          ///< what stream::reset_on_failure() says of it
    duration idle = duration::max();    ///< the span of the guardian that watches over it
    const char* idle_verb = nullptr;    ///< what the guard tells when the connection has moved
};

/// A peer's address as a slot keeps it, so that a connection that waits does not pay for the
/// longest one. A name of unix(7) does not fit: the poller asks the kernel, which keeps it.
struct compact_address {
    alignas(8) std::array<std::byte, 28> bytes{};
    std::uint32_t size = 0;
};

/// Owns a socket that poller::detach() took out of one poller, until poller::attach() of another
/// one of the same run takes it in. Closes it when it is dropped, on whatever thread of the run.
class CORO_EXPORT detached {
public:
    /// What closes sockets that nobody attaches. Outlives them.
    class closer {
    public:
        virtual void close_detached(detached& gone) noexcept = 0;

    protected:
        closer() = default;
        ~closer() = default;
    };

    detached() noexcept = default;
    detached(detached&& other) noexcept
        : notes(other.notes),
          remote(other.remote),
          moved(other.moved),
          token(other.token),
          listening(other.listening),
          local(other.local),
          lingering(other.lingering),
          was_blocking(other.was_blocking),
          datagram(other.datagram),
          closer_(std::exchange(other.closer_, nullptr)) {}
    detached& operator=(detached&& other) noexcept {
        if (this == &other) return *this;
        drop();
        notes = other.notes;
        remote = other.remote;
        moved = other.moved;
        token = other.token;
        listening = other.listening;
        local = other.local;
        lingering = other.lingering;
        was_blocking = other.was_blocking;
        datagram = other.datagram;
        closer_ = std::exchange(other.closer_, nullptr);
        return *this;
    }
    ~detached() { drop(); }

    [[nodiscard]] explicit operator bool() const noexcept { return closer_ != nullptr; }
    /// Closes it now, by a reset: what an exception does to a stream with reset_on_failure().
    void drop_by_reset() noexcept {
        by_reset = true;
        drop();
    }
    /// Closes it now.
    void drop() noexcept {
        if (closer_ != nullptr) std::exchange(closer_, nullptr)->close_detached(*this);
    }

    // --- for pollers

    /// From now on `by` closes it, unless it is taken.
    void keep(closer& by, std::uint64_t what) noexcept {
        closer_ = &by;
        token = what;
    }
    [[nodiscard]] bool is_of(const closer& by) const noexcept { return closer_ == &by; }
    void taken() noexcept { closer_ = nullptr; }

    socket_notes notes;
    compact_address remote;    ///< the peer, if it is known
    std::uint64_t moved = 0;   ///< bytes received and sent, where the kernel does not count
    std::uint64_t token = 0;   ///< names the socket to its closer
    bool listening = false;
    bool local = false;        ///< unix(7)
    bool lingering = false;    ///< it may have a linger time: closing it must not wait for that
    bool was_blocking = false;  ///< when it was adopted
    bool datagram = false;      ///< for receive_from and send_to
    bool by_reset = false;      ///< for its closer

private:
    closer* closer_ = nullptr;
};

}}}  // namespace coro::v0::detail
