// The transports of a loop, by handle: what the waist's rules ask beyond a single transport, so
// that those who write one need not.
//
// Rules:
//  1. Handles are index and generation, as those of sockets, beginning at `first_transport`. So
//     awaiters, writers and dumps refer to the place, and never to a stream or a transport.
//  2. One read and one write are pending at a time; a second one is busy, one after close() closed.
//  3. What a transport completes inside of submit() was done at once. Otherwise its owner learns it
//     as it learns completions of the poller: nobody is resumed, or submits again, inside of a
//     transport's call.
//  4. close() makes the handle stale for new transfers, cancels what is pending, and tells the
//     transport. It is destroyed at the end of a turn, when nothing of it is pending any more:
//     never inside of its own functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

#include <coro/core/detail/loop.hpp>
#include <coro/net/transport.hpp>

#include "runtime/poller.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

class transport_table final : public loop_guest, private turn_end {
public:
    /// Of this loop; made if there is none. Throws: std::bad_alloc.
    static transport_table& here();
    /// Requires: this loop has had a transport.
    static transport_table& made_here() noexcept;
    explicit transport_table(scheduler& loop) noexcept;
    ~transport_table() override;

    /// Throws: std::bad_alloc.
    detail::handle add(std::unique_ptr<net::transport> of);

    // --- as those of the poller
    /// True: done, as poller::submit() says it; submit_to_transport() below says the opposite.
    [[nodiscard]] bool submit(operation& op) noexcept;
    void cancel(operation& op) noexcept;
    void close(detail::handle which, bool by_reset) noexcept;
    /// nullptr for a handle that is stale or closing.
    [[nodiscard]] net::transport* find(detail::handle which) noexcept;
    [[nodiscard]] socket_notes* notes(detail::handle which) noexcept;
    /// As poller::has_input(); true for a handle that is stale or closing.
    [[nodiscard]] bool has_input(detail::handle which) noexcept;
    /// What `which` stands on, or what that stands on, down to a socket; itself if it stands alone.
    [[nodiscard]] detail::handle lowest_below(detail::handle which) noexcept;
    /// Whether a stream ends by a reset when an exception destroys it: it was told to, or what
    /// it stands on was.
    [[nodiscard]] bool is_reset_when_failed(detail::handle which) noexcept;

    /// Also while it is closing; empty if it is gone.
    [[nodiscard]] std::string_view describe(detail::handle which) const noexcept;
    /// What result_other means. Any other result: none.
    [[nodiscard]] std::error_code other_error(detail::handle which) const noexcept;

    // --- for transfer and relay
    void completed(operation& op, std::int32_t result) noexcept;
    void failed(operation& op, std::error_code error) noexcept;
    void relay_ended() noexcept;
    [[nodiscard]] scheduler& loop() noexcept { return loop_; }

private:
    struct entry {
        std::unique_ptr<net::transport> transport;
        std::uint32_t generation = 0;
        bool closing = false;
        socket_notes notes;
        operation* receiving = nullptr;
        operation* sending = nullptr;
        std::error_code error;  ///< the last one that no result has a number for
    };

    [[nodiscard]] entry* entry_of(detail::handle which) const noexcept;
    /// What a relay of the transport asks; none if it has no relay, or closed that stream.
    [[nodiscard]] static detail::handle below(const net::transport& of) noexcept;
    [[nodiscard]] static operation*& pending(entry& of, const operation& op) noexcept;
    void sweep_later() noexcept { loop_.at_turn_end(*this); }
    void sweep() noexcept;

    scheduler& loop_;
    std::vector<std::unique_ptr<entry>> entries_;  ///< each stays where it is
    std::vector<std::uint32_t> free_;
    std::vector<std::uint32_t> closing_;  ///< has room for all entries
};

/// operation::backend_state: a leased read wanted a buffer, and none could be lent.
inline constexpr std::uint8_t no_buffer = 2;

/// Asks the transport of `op`. True: pending, as scheduler::submit() says it. At most
/// `inline_completions` a resumption are done at once, as those of sockets; a relay that asks again
/// and again gives way too.
[[nodiscard]] bool submit_to_transport(operation& op, scheduler& loop) noexcept;

/// For a request that nobody awaits, which has `advance`. True: pending, as scheduler says it.
[[nodiscard]] inline bool submit_unowned(operation& op, scheduler& loop) noexcept {
    if (op.target.is_transport()) [[unlikely]] return submit_to_transport(op, loop);
    return loop.submit_unowned(op);
}

}}}  // namespace coro::v0::detail
