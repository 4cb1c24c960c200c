// The readiness world: the waist over epoll(7).
#pragma once

#include <sys/epoll.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "poller/reserved_pages.hpp"
#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// A poller over epoll, or nullptr and in `why_not` a clause that says what failed.
/// In `error` stands the errno then.
std::unique_ptr<poller> make_epoll_poller(const poller_options& options, std::string& why_not,
                                          int& error);

/// Waits for edges, tries operations when they may succeed; see the top of the .cpp.
class epoll_poller final : public posix_sockets {
public:
    using posix_sockets::posix_sockets;
    ~epoll_poller() override;
    /// Empty on success, otherwise what failed.
    std::string prepare(int& error);

    [[nodiscard]] std::string_view name() const noexcept override { return "epoll"; }
    [[nodiscard]] bool submit(operation& op) noexcept override;
    void cancel(operation& op) noexcept override;
    void wait(time_point deadline, operation_list& completed) noexcept override;
    [[nodiscard]] bool has_more() const noexcept override { return batch_was_full_; }
    void wake() noexcept override;
    void return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept override;
    std::size_t lend(operation& op) noexcept override;

protected:
    bool begin_close(socket_slot& slot) noexcept override;
    int forget(socket_slot& slot) noexcept override;

private:
    // --- the life of an operation
    std::int32_t start(socket_slot& slot, operation& op) noexcept;
    std::int32_t start_unready(socket_slot& slot, operation& op) noexcept;
    std::int32_t attempt(socket_slot& slot, operation& op) noexcept;
    bool park(socket_slot& slot, operation& op) noexcept;
    void end(operation& op) noexcept;
    void finish(operation& op, std::int32_t result) noexcept;
    void finish_parked(operation*& parked, std::int32_t result, operation_list& to) noexcept;
    int register_slot(socket_slot& slot) noexcept;

    // --- waits for readiness alone (epoll_watch.cpp)
    bool submit_elsewhere(operation& op) noexcept;
    int register_watched(socket_slot& slot, short events) noexcept;
    void finish_watched(socket_slot& slot, const epoll_event& event,
                        operation_list& completed) noexcept;
    void end_watch(socket_slot& slot) noexcept;

    // --- the calls; each returns a result or would_block
    std::int32_t try_receive(socket_slot& slot, io_slice into) noexcept;
    std::int32_t try_receive_message(socket_slot& slot, std::span<io_slice> into) noexcept;
    std::int32_t try_receive_leased(socket_slot& slot, operation& op) noexcept;
    std::int32_t peek_for_lease(socket_slot& slot) noexcept;
    std::int32_t try_send(socket_slot& slot, const void* from, std::size_t size) noexcept;
    std::int32_t try_send_message(socket_slot& slot, std::span<io_slice> from) noexcept;
    std::int32_t note_send(socket_slot& slot, std::int32_t sent, std::size_t asked) noexcept;
    std::int32_t try_accept(socket_slot& listener, operation& op) noexcept;
    std::int32_t accept_if_there(socket_slot& listener, operation& op) noexcept;
    static int call_connect(const socket_slot& slot, const operation& op) noexcept;
    std::int32_t start_connect(socket_slot& slot, const operation& op) noexcept;
    std::int32_t check_connect(socket_slot& slot, const operation& op) noexcept;
    std::int32_t note_connected(socket_slot& slot, const operation& op) noexcept;
    std::int32_t note_receive(socket_slot& slot, std::int32_t got, bool short_of) noexcept;

    // --- datagrams (epoll_datagram.cpp)
    std::int32_t try_receive_from(socket_slot& slot, operation& op) noexcept;
    std::int32_t try_send_to(socket_slot& slot, operation& op) noexcept;

    // --- collecting
    void finish_ending(operation_list& completed) noexcept;
    void retry_connects(operation_list& completed) noexcept;
    int collect(time_point deadline, bool may_wait) noexcept;
    int wait_in_kernel(const timespec* timeout) noexcept;
    socket_slot* note_edges(const epoll_event& event, operation_list& completed) noexcept;
    void try_parked(socket_slot& slot, operation_list& completed) noexcept;

    // --- leases
    /// One wait() may fill a buffer for each of its events before anybody has run and given one
    /// back: with a pool of 64 that did not grow, a thousand busy connections cost 1.38 times the
    /// raw server. Inlined where a socket takes one: callgrind counts 22 instructions a message.
    [[gnu::always_inline]] bool take_lease(lease& out) noexcept {
        if (free_leases_.empty() && pool_count_ < options_.lease_buffers_most)
            grow_pool(std::min(2 * pool_count_, options_.lease_buffers_most));
        if (free_leases_.empty()) return take_heap_lease(out);
        const std::uint32_t id = free_leases_.back();
        free_leases_.pop_back();
        leased_[id] = true;
        ++leases_out_;
        out = {id, pool_.at(std::size_t{id} * options_.lease_buffer_bytes), false};
        return true;
    }
    void grow_pool(std::uint32_t count) noexcept;

    int epoll_ = -1;
    int wake_ = -1;
    bool has_pwait2_ = true;
    std::array<epoll_event, 256> events_;
    bool batch_was_full_ = false;  ///< all of events_ was filled: the kernel may have more
    operation_list ending_;  ///< cancelled or closed; completed by the next wait()

    std::vector<detail::handle> refused_for_now_;  ///< connects to local listeners that were full

    reserved_pages pool_;                  ///< lease_buffers_most of them
    std::uint32_t pool_count_ = 0;       ///< of these, in use so far
    std::vector<std::uint32_t> free_leases_;  ///< last in, first out: the warm one first
    std::vector<bool> leased_;
};

}}}  // namespace coro::v0::detail
